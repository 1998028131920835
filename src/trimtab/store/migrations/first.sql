CREATE TABLE actions (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	kind VARCHAR NOT NULL,
	"key" VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	cause TEXT NOT NULL,
	result TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT pk_actions PRIMARY KEY (id)
);

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE alerts (
	project VARCHAR(32) NOT NULL,
	id VARCHAR NOT NULL,
	incident VARCHAR NOT NULL,
	event VARCHAR NOT NULL,
	channel VARCHAR NOT NULL,
	body TEXT NOT NULL,
	state VARCHAR NOT NULL,
	attempts BIGINT NOT NULL,
	next_at BIGINT NOT NULL,
	error VARCHAR NOT NULL,
	receipt VARCHAR NOT NULL,
	created_at BIGINT NOT NULL,
	sent_at BIGINT NOT NULL,
	CONSTRAINT pk_alerts PRIMARY KEY (project, id)
);

CREATE TABLE artifacts (
	project VARCHAR(32) NOT NULL,
	digest VARCHAR NOT NULL,
	kind VARCHAR NOT NULL,
	size BIGINT NOT NULL,
	meta TEXT NOT NULL,
	run VARCHAR NOT NULL,
	created_at BIGINT NOT NULL,
	CONSTRAINT pk_artifacts PRIMARY KEY (project, digest)
)
 WITHOUT ROWID

;

CREATE TABLE changes (
	project VARCHAR(32) NOT NULL,
	seq INTEGER NOT NULL,
	what VARCHAR NOT NULL,
	run VARCHAR NOT NULL,
	tx BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_changes PRIMARY KEY (seq)
);

CREATE TABLE endpoints (
	project VARCHAR(32) NOT NULL,
	name VARCHAR NOT NULL,
	target VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	pid BIGINT NOT NULL,
	pid_started FLOAT NOT NULL,
	host VARCHAR NOT NULL,
	port BIGINT NOT NULL,
	folder VARCHAR NOT NULL,
	routes TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT pk_endpoints PRIMARY KEY (project, name)
);

CREATE TABLE episodes (
	project VARCHAR(32) NOT NULL,
	endpoint VARCHAR NOT NULL,
	model VARCHAR NOT NULL,
	kind VARCHAR NOT NULL,
	since BIGINT NOT NULL,
	until BIGINT NOT NULL,
	form VARCHAR NOT NULL,
	features TEXT NOT NULL,
	CONSTRAINT pk_episodes PRIMARY KEY (project, endpoint, model, kind, since)
);

CREATE TABLE estimates (
	project VARCHAR(32) NOT NULL,
	endpoint VARCHAR NOT NULL,
	model VARCHAR NOT NULL,
	metric VARCHAR NOT NULL,
	start BIGINT NOT NULL,
	"end" BIGINT NOT NULL,
	value FLOAT NOT NULL,
	lo FLOAT NOT NULL,
	hi FLOAT NOT NULL,
	level FLOAT NOT NULL,
	n BIGINT NOT NULL,
	method VARCHAR NOT NULL,
	note VARCHAR NOT NULL,
	untrusted VARCHAR NOT NULL,
	effective FLOAT NOT NULL,
	measured_at BIGINT NOT NULL,
	realised FLOAT,
	realised_lo FLOAT,
	realised_hi FLOAT,
	labels BIGINT NOT NULL,
	checked_at BIGINT NOT NULL,
	CONSTRAINT pk_estimates PRIMARY KEY (project, endpoint, model, metric, start)
)
 WITHOUT ROWID

;

CREATE TABLE evidence (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	seq BIGINT NOT NULL,
	metric VARCHAR NOT NULL,
	statistic VARCHAR NOT NULL,
	subject VARCHAR NOT NULL,
	slice VARCHAR NOT NULL,
	window VARCHAR NOT NULL,
	value FLOAT NOT NULL,
	lo FLOAT NOT NULL,
	hi FLOAT NOT NULL,
	n BIGINT NOT NULL,
	level FLOAT NOT NULL,
	method VARCHAR NOT NULL,
	validity VARCHAR NOT NULL,
	run VARCHAR NOT NULL,
	measured_at BIGINT NOT NULL,
	details TEXT NOT NULL,
	CONSTRAINT pk_evidence PRIMARY KEY (id)
);

CREATE TABLE experiments (
	project VARCHAR(32) NOT NULL,
	id BIGINT NOT NULL,
	name VARCHAR NOT NULL,
	stage VARCHAR NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_experiments PRIMARY KEY (project, id)
)
 WITHOUT ROWID

;

CREATE TABLE incidents (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	kind VARCHAR NOT NULL,
	"key" VARCHAR NOT NULL,
	endpoint VARCHAR NOT NULL,
	title VARCHAR NOT NULL,
	severity VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	detail TEXT NOT NULL,
	opened_at BIGINT NOT NULL,
	resolved_at BIGINT NOT NULL,
	since BIGINT NOT NULL,
	resolution VARCHAR NOT NULL, acknowledged_at BIGINT DEFAULT '0' NOT NULL, acknowledged_by VARCHAR DEFAULT '' NOT NULL, reopened BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_incidents PRIMARY KEY (id)
);

CREATE TABLE label_changes (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	prediction VARCHAR NOT NULL,
	"before" TEXT NOT NULL,
	value TEXT NOT NULL,
	labelled_at BIGINT NOT NULL,
	received_at BIGINT NOT NULL,
	kept INTEGER NOT NULL,
	CONSTRAINT pk_label_changes PRIMARY KEY (id)
);

CREATE TABLE label_request_rows (
	project VARCHAR(32) NOT NULL,
	request VARCHAR NOT NULL,
	place BIGINT NOT NULL,
	prediction VARCHAR NOT NULL,
	stratum VARCHAR NOT NULL,
	probability FLOAT NOT NULL,
	CONSTRAINT pk_label_request_rows PRIMARY KEY (project, request, place)
)
 WITHOUT ROWID

;

CREATE TABLE label_requests (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	endpoint VARCHAR NOT NULL,
	model VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	reason VARCHAR NOT NULL,
	since BIGINT NOT NULL,
	until BIGINT NOT NULL,
	wanted BIGINT NOT NULL,
	answered BIGINT NOT NULL,
	detail TEXT NOT NULL,
	opened_at BIGINT NOT NULL,
	closed_at BIGINT NOT NULL,
	resolution VARCHAR NOT NULL,
	CONSTRAINT pk_label_requests PRIMARY KEY (id)
);

CREATE TABLE labels (
	project VARCHAR(32) NOT NULL,
	prediction VARCHAR NOT NULL,
	value TEXT NOT NULL,
	labelled_at BIGINT NOT NULL,
	received_at BIGINT NOT NULL,
	extra TEXT NOT NULL,
	CONSTRAINT pk_labels PRIMARY KEY (project, prediction)
);

CREATE TABLE leases (
	project VARCHAR(32) NOT NULL,
	name VARCHAR NOT NULL,
	holder VARCHAR NOT NULL,
	expires_at BIGINT NOT NULL,
	CONSTRAINT pk_leases PRIMARY KEY (project, name)
);

CREATE TABLE ledger (
	project VARCHAR(32) NOT NULL,
	seq BIGINT NOT NULL,
	time BIGINT NOT NULL,
	kind VARCHAR NOT NULL,
	body TEXT NOT NULL,
	previous VARCHAR NOT NULL,
	hash VARCHAR NOT NULL,
	CONSTRAINT pk_ledger PRIMARY KEY (project, seq)
);

CREATE TABLE ledger_heads (
	project VARCHAR(32) NOT NULL,
	seq BIGINT NOT NULL,
	hash VARCHAR NOT NULL,
	CONSTRAINT pk_ledger_heads PRIMARY KEY (project)
);

CREATE TABLE links (
	project VARCHAR(32) NOT NULL,
	run VARCHAR NOT NULL,
	direction VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	digest VARCHAR NOT NULL,
	CONSTRAINT pk_links PRIMARY KEY (project, run, direction, name, digest)
)
 WITHOUT ROWID

;

CREATE TABLE logged_models (
	project VARCHAR(32) NOT NULL,
	id VARCHAR NOT NULL,
	experiment BIGINT NOT NULL,
	stage VARCHAR NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_logged_models PRIMARY KEY (project, id)
)
 WITHOUT ROWID

;

CREATE TABLE metric_batches (
	project VARCHAR(32) NOT NULL,
	run VARCHAR NOT NULL,
	seq BIGINT NOT NULL,
	body BLOB NOT NULL,
	CONSTRAINT pk_metric_batches PRIMARY KEY (project, run, seq)
);

CREATE TABLE metric_chunks (
	project VARCHAR(32) NOT NULL,
	run VARCHAR NOT NULL,
	"key" VARCHAR NOT NULL,
	level BIGINT NOT NULL,
	place BIGINT NOT NULL,
	summary BLOB NOT NULL,
	body BLOB NOT NULL,
	CONSTRAINT pk_metric_chunks PRIMARY KEY (project, run, "key", level, place)
);

CREATE TABLE metric_marks (
	project VARCHAR(32) NOT NULL,
	run VARCHAR NOT NULL,
	through BIGINT NOT NULL,
	CONSTRAINT pk_metric_marks PRIMARY KEY (project, run)
)
 WITHOUT ROWID

;

CREATE TABLE projects (
	project VARCHAR(32) NOT NULL,
	name VARCHAR NOT NULL,
	created_at BIGINT NOT NULL,
	CONSTRAINT pk_projects PRIMARY KEY (project),
	UNIQUE (name)
);

CREATE TABLE refs (
	project VARCHAR(32) NOT NULL,
	kind VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	digest VARCHAR NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT pk_refs PRIMARY KEY (project, kind, name)
);

CREATE TABLE registered_models (
	project VARCHAR(32) NOT NULL,
	name VARCHAR NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_registered_models PRIMARY KEY (project, name)
)
 WITHOUT ROWID

;

CREATE TABLE registered_versions (
	project VARCHAR(32) NOT NULL,
	name VARCHAR NOT NULL,
	number BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_registered_versions PRIMARY KEY (project, name, number)
)
 WITHOUT ROWID

;

CREATE TABLE rollouts (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	endpoint VARCHAR NOT NULL,
	candidate VARCHAR NOT NULL,
	champion VARCHAR NOT NULL,
	stages TEXT NOT NULL,
	stage INTEGER NOT NULL,
	state VARCHAR NOT NULL,
	reason VARCHAR NOT NULL,
	cause TEXT NOT NULL,
	opened_at BIGINT NOT NULL,
	staged_at BIGINT NOT NULL,
	closed_at BIGINT NOT NULL,
	CONSTRAINT pk_rollouts PRIMARY KEY (id)
);

CREATE TABLE runs (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	kind VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	status VARCHAR NOT NULL,
	parent VARCHAR NOT NULL,
	"key" VARCHAR NOT NULL,
	cause TEXT NOT NULL,
	params TEXT NOT NULL,
	tags TEXT NOT NULL,
	code VARCHAR NOT NULL,
	environment VARCHAR NOT NULL,
	concurrency_key VARCHAR NOT NULL,
	pid BIGINT NOT NULL,
	started_at BIGINT NOT NULL,
	heartbeat_at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL,
	peak_bytes BIGINT NOT NULL,
	error TEXT,
	CONSTRAINT pk_runs PRIMARY KEY (id)
);

CREATE TABLE sightings (
	project VARCHAR(32) NOT NULL,
	incident VARCHAR NOT NULL,
	occurrences BIGINT NOT NULL,
	seen_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT pk_sightings PRIMARY KEY (project, incident)
);

CREATE TABLE states (
	project VARCHAR(32) NOT NULL,
	name VARCHAR NOT NULL,
	body TEXT NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT pk_states PRIMARY KEY (project, name)
);

CREATE TABLE steps (
	project VARCHAR(32) NOT NULL,
	"key" VARCHAR NOT NULL,
	run VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	outputs TEXT NOT NULL,
	codecs TEXT NOT NULL,
	components TEXT NOT NULL,
	observed TEXT NOT NULL,
	weak TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	CONSTRAINT pk_steps PRIMARY KEY (project, "key")
);

CREATE TABLE stored_files (
	project VARCHAR(32) NOT NULL,
	path VARCHAR NOT NULL,
	digest VARCHAR NOT NULL,
	size BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	CONSTRAINT pk_stored_files PRIMARY KEY (project, path)
)
 WITHOUT ROWID

;

CREATE TABLE tracked_runs (
	project VARCHAR(32) NOT NULL,
	run VARCHAR NOT NULL,
	experiment BIGINT NOT NULL,
	stage VARCHAR NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_tracked_runs PRIMARY KEY (project, run)
)
 WITHOUT ROWID

;

CREATE TABLE verdicts (
	id VARCHAR NOT NULL,
	project VARCHAR(32) NOT NULL,
	seq BIGINT NOT NULL,
	requirement VARCHAR NOT NULL,
	text VARCHAR NOT NULL,
	metric VARCHAR NOT NULL,
	statistic VARCHAR NOT NULL,
	subject VARCHAR NOT NULL,
	place VARCHAR NOT NULL,
	status VARCHAR NOT NULL,
	provisional INTEGER NOT NULL,
	reason VARCHAR NOT NULL,
	value FLOAT,
	lo FLOAT,
	hi FLOAT,
	n BIGINT NOT NULL,
	evidence TEXT NOT NULL,
	details TEXT NOT NULL,
	config VARCHAR NOT NULL,
	run VARCHAR NOT NULL,
	decided_at BIGINT NOT NULL,
	CONSTRAINT pk_verdicts PRIMARY KEY (id)
);

CREATE TABLE versions (
	project VARCHAR(32) NOT NULL,
	kind VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	number INTEGER NOT NULL,
	digest VARCHAR NOT NULL,
	run VARCHAR NOT NULL,
	meta TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	CONSTRAINT pk_versions PRIMARY KEY (project, kind, name, number)
);

CREATE TABLE windows (
	project VARCHAR(32) NOT NULL,
	endpoint VARCHAR NOT NULL,
	model VARCHAR NOT NULL,
	role VARCHAR NOT NULL,
	start BIGINT NOT NULL,
	"end" BIGINT NOT NULL,
	rows BIGINT NOT NULL,
	profile VARCHAR NOT NULL,
	findings TEXT NOT NULL,
	features TEXT NOT NULL,
	judged_at BIGINT NOT NULL,
	CONSTRAINT pk_windows PRIMARY KEY (project, endpoint, model, role, start)
);

CREATE INDEX ix_alerts_incident ON alerts (project, incident);

CREATE INDEX ix_alerts_state ON alerts (project, state, next_at);

CREATE INDEX ix_evidence_subject ON evidence (project, subject, metric);

CREATE INDEX ix_label_changes_prediction ON label_changes (project, prediction);

CREATE INDEX ix_links_digest ON links (project, digest);

CREATE INDEX ix_runs_kind ON runs (project, kind, id);

CREATE INDEX ix_runs_parent ON runs (project, parent);

CREATE INDEX ix_steps_name ON steps (project, name, created_at);

CREATE INDEX ix_tracked_runs_experiment ON tracked_runs (project, experiment);

CREATE INDEX ix_verdicts_subject ON verdicts (project, subject, place);

CREATE UNIQUE INDEX ux_actions_key ON actions (project, "key");

CREATE UNIQUE INDEX ux_experiments_name ON experiments (project, name) WHERE stage = 'active';

CREATE UNIQUE INDEX ux_incidents_open ON incidents (project, "key") WHERE state = 'open';

CREATE UNIQUE INDEX ux_label_requests_open ON label_requests (project, endpoint) WHERE state = 'open';

CREATE UNIQUE INDEX ux_rollouts_open ON rollouts (project, endpoint) WHERE state = 'open';

CREATE UNIQUE INDEX ux_runs_concurrency ON runs (project, concurrency_key) WHERE status = 'running' AND concurrency_key <> '';

CREATE UNIQUE INDEX ux_versions_digest ON versions (project, kind, name, digest);

CREATE TRIGGER keep_changes AFTER INSERT ON changes WHEN NEW.seq % 1024 = 0 BEGIN
	DELETE FROM changes WHERE seq <= NEW.seq - 16384;
END;

CREATE TRIGGER note_links_delete AFTER DELETE ON links BEGIN
	INSERT INTO changes (project, what, run) VALUES (OLD.project, 'links', OLD.run);
END;

CREATE TRIGGER note_links_insert AFTER INSERT ON links BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'links', NEW.run);
END;

CREATE TRIGGER note_metric_batches_insert AFTER INSERT ON metric_batches BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'points', NEW.run);
END;

CREATE TRIGGER note_runs_delete AFTER DELETE ON runs BEGIN
	INSERT INTO changes (project, what, run) VALUES (OLD.project, 'gone', OLD.id);
END;

CREATE TRIGGER note_runs_insert AFTER INSERT ON runs BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'run', NEW.id);
END;

CREATE TRIGGER note_runs_update AFTER UPDATE OF kind, name, status, parent, cause, params, tags, code, environment, pid, started_at, ended_at, peak_bytes, error ON runs BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'run', NEW.id);
END;

CREATE TRIGGER note_states_delete AFTER DELETE ON states WHEN substr(OLD.name, 1, 8) = 'deleted:' BEGIN
	INSERT INTO changes (project, what, run) VALUES (OLD.project, 'run', substr(OLD.name, 9));
END;

CREATE TRIGGER note_states_insert AFTER INSERT ON states WHEN substr(NEW.name, 1, 8) = 'deleted:' BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'run', substr(NEW.name, 9));
END;

CREATE TRIGGER note_tracked_runs_delete AFTER DELETE ON tracked_runs BEGIN
	INSERT INTO changes (project, what, run) VALUES (OLD.project, 'run', OLD.run);
END;

CREATE TRIGGER note_tracked_runs_insert AFTER INSERT ON tracked_runs BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'run', NEW.run);
END;

CREATE TRIGGER note_tracked_runs_update AFTER UPDATE ON tracked_runs BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'run', NEW.run);
END;

CREATE TRIGGER note_versions_delete AFTER DELETE ON versions BEGIN
	INSERT INTO changes (project, what, run) VALUES (OLD.project, 'versions', '');
END;

CREATE TRIGGER note_versions_insert AFTER INSERT ON versions BEGIN
	INSERT INTO changes (project, what, run) VALUES (NEW.project, 'versions', '');
END;

INSERT INTO alembic_version VALUES ('0006');

