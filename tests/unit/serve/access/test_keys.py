import os
import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from trimtab.errors import ConflictError, NotFoundError, UsageError
from trimtab.serve.access import keys

DAY = 86_400_000_000


def test_a_key_is_kept_as_its_hash_alone(tmp_path):
    made, text = keys.add(tmp_path, "batch", scopes=("infer", "metrics", "infer"), rate="100/s")
    assert text.startswith("tt_")
    assert len(text) == 3 + 43
    assert made.scopes == ("infer", "metrics")
    assert made.hash == keys.hash_of(text)
    assert text not in (tmp_path / keys.FILE).read_text()
    assert keys.read(tmp_path) == (made,)


def test_the_hash_is_what_sha256sum_prints():
    digest = "f9323742c981920c9005d5949bce738ffda38e9a4ce83f2e2344d7ba9281f4ee"
    assert keys.hash_of("tt_x") == f"sha256:{digest}"


def test_only_the_owner_may_read_the_file(tmp_path):
    keys.add(tmp_path, "batch")
    assert stat.S_IMODE(os.stat(tmp_path / keys.FILE).st_mode) == 0o600


def test_no_two_keys_are_alike(tmp_path):
    made = [keys.add(tmp_path, f"k{i}") for i in range(20)]
    assert len({text for _, text in made}) == len({key.id for key, _ in made}) == 20


def test_a_name_is_given_once(tmp_path):
    keys.add(tmp_path, "batch")
    with pytest.raises(ConflictError, match="'batch'"):
        keys.add(tmp_path, "batch")


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "a/b", "x" * 101, "a\n"])
def test_a_name_is_plain(tmp_path, name):
    with pytest.raises(UsageError, match="key name"):
        keys.add(tmp_path, name)
    assert keys.read(tmp_path) is None


def test_a_key_is_removed_by_name_id_or_the_beginning_of_it(tmp_path):
    made = [keys.add(tmp_path, name)[0] for name in "abc"]
    assert keys.remove(tmp_path, "a") == made[0]
    assert keys.remove(tmp_path, made[1].id) == made[1]
    assert keys.remove(tmp_path, made[2].id[:31]) == made[2]
    assert keys.read(tmp_path) == ()


def test_a_name_goes_before_the_beginning_of_an_id(tmp_path):
    first, _ = keys.add(tmp_path, "first")
    second, _ = keys.add(tmp_path, first.id[:4])
    assert keys.remove(tmp_path, first.id[:4]) == second


@pytest.mark.parametrize("which", ["", "nobody", "0"])
def test_what_names_no_single_key_removes_none(tmp_path, which):
    with pytest.raises(NotFoundError):
        keys.remove(tmp_path, which)
    made = {keys.add(tmp_path, name)[0] for name in ("a", "b")}
    with pytest.raises(NotFoundError):
        keys.remove(tmp_path, which)
    assert set(keys.read(tmp_path)) == made


def test_changes_at_once_lose_no_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: keys.add(tmp_path, f"k{i}"), range(24)))
    assert {key.name for key in keys.read(tmp_path)} == {f"k{i}" for i in range(24)}


KEY = keys.Key(id="a", name="a", hash="sha256:" + "0" * 64, scopes=("infer",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "keys.json"),
        (b"\xff", "keys.json"),
        (b"[]", "keys.json"),
        (b'{"keys": [{"name": "a"}]}', "keys.json"),
        (b'{"kees": []}', "kees"),
        (msgspec.json.encode(keys.KeysFile(version=2)), "version 2"),
        (msgspec.json.encode({"keys": [{**msgspec.to_builtins(KEY), "scopes": ["root"]}]}), "root"),
        (msgspec.json.encode({"keys": [{**msgspec.to_builtins(KEY), "hash": "md5:0"}]}), "hash"),
        (msgspec.json.encode({"keys": [{**msgspec.to_builtins(KEY), "rate": "fast"}]}), "fast"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, content, words):
    (tmp_path / keys.FILE).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        keys.read(tmp_path)


def test_a_file_written_by_hand_may_leave_out_what_is_not_known(tmp_path):
    text = '{"keys": [{"id": "1", "name": "ci", "hash": "%s", "scopes": ["infer"]}]}'
    (tmp_path / keys.FILE).write_text(text % keys.hash_of("tt_mine"))
    (key,) = keys.read(tmp_path)
    assert (key.expires_at, key.rate) == (0, "")


def test_scopes_are_read_from_text():
    assert keys.parse_scopes("infer, metrics,") == ("infer", "metrics")
    assert keys.parse_scopes("") == ()
    with pytest.raises(UsageError, match="'infer,root'"):
        keys.parse_scopes("infer,root")


def test_an_expiry_counts_from_now():
    assert keys.parse_expiry("", 5) == 0
    assert keys.parse_expiry("90d", 5) == 90 * DAY + 5
    for text in ("soon", "0s", "9999999w", "-1d"):
        with pytest.raises(UsageError):
            keys.parse_expiry(text, 5)
