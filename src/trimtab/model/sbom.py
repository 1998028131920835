"""The bill of materials of a packaged model: CycloneDX 1.6 of the environment that serves it.

The model with its files, and the distributions that the serving extra of trimtab means as they are
installed here, with licences and who needs whom. The same model and environment give the same
bytes: there is no time in it, and its serial number is derived. Needs the extra `build`.
"""

from __future__ import annotations

import hashlib
import importlib
import platform
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.errors import MissingExtraError, NotFoundError
from trimtab.model.signature import Signature
from trimtab.track.environment import normalise

FILE: Final = "sbom.json"
ROOT: Final = "trimtab"
_LONG: Final = 120


def make(folder: Path, signed: Signature, *, name: str, digest: str) -> bytes:
    """The bill of materials of the package in `folder`, as JSON.

    A package that scikit-learn answers for is served by the extra `local`, others by `serve`. Raises
    MissingExtraError without the library, NotFoundError where trimtab is not installed.
    """
    lib = _Library()
    needed = closure(ROOT, "local" if signed.engine == "skops" else "serve")
    model = _model(lib, folder, signed, name, digest)
    parts = {one: lib.component(metadata.distribution(one)) for one in needed}
    bom = lib.bom.Bom(components=parts.values())
    bom.metadata.component = model
    bom.metadata.properties = [
        lib.property("python", platform.python_version()),
        lib.property("platform", f"{sys.platform} {platform.machine()}"),
    ]
    bom.register_dependency(model, [parts[ROOT]])
    for one, depends in needed.items():
        bom.register_dependency(parts[one], [parts[other] for other in depends])
    return _fixed(lib.output.JsonV1Dot6(bom).output_as_string())


def closure(root: str, extra: str) -> dict[str, list[str]]:
    """Installed distribution -> installed distributions that it requires, from `root[extra]` on.

    Requirements whose markers do not hold here, or that are not installed, are left out.
    """
    from packaging.requirements import Requirement  # noqa: PLC0415  the extra `build`

    found: dict[str, list[str]] = {}
    asked: dict[str, set[str]] = {}
    ahead = [(root, frozenset({extra}))]
    while ahead:
        name, extras = ahead.pop()
        fresh = extras - asked.get(name, set())
        if name in asked and not fresh:
            continue
        asked.setdefault(name, set()).update(extras)
        depends = found.setdefault(name, [])
        for line in _distribution(name).requires or []:
            wanted = Requirement(line)
            other = normalise(wanted.name)
            holds = wanted.marker is None or any(
                wanted.marker.evaluate({"extra": one}) for one in ("", *asked[name])
            )
            if not holds or not _is_installed(other):
                continue
            if other not in (name, *depends):
                depends.append(other)
            ahead.append((other, frozenset(wanted.extras)))
    return {name: sorted(found[name]) for name in sorted(found)}


def _model(lib: _Library, folder: Path, signed: Signature, name: str, digest: str) -> Any:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return lib.parts.Component(
        type=lib.parts.ComponentType.MACHINE_LEARNING_MODEL,
        name=name,
        version=digest,
        bom_ref=digest,
        properties=[
            lib.property("digest", digest),
            lib.property("engine", signed.engine),
            lib.property("task", signed.task),
        ],
        components=[lib.file(path, path.relative_to(folder).as_posix()) for path in files],
    )


def _fixed(text: str) -> bytes:
    """Without the time of writing, with a serial number of the content, in a fixed order."""
    document = msgspec.json.decode(text)
    document["metadata"].pop("timestamp", None)
    document.pop("serialNumber", None)
    name = hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, name).urn
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


class _Library:
    """The modules of cyclonedx-python-lib, and components in their words."""

    def __init__(self) -> None:
        try:
            self.base: Any = importlib.import_module("cyclonedx.model")
            self.bom: Any = importlib.import_module("cyclonedx.model.bom")
            self.parts: Any = importlib.import_module("cyclonedx.model.component")
            self.licences: Any = importlib.import_module("cyclonedx.model.license")
            self.output: Any = importlib.import_module("cyclonedx.output.json")
            self.spdx: Any = importlib.import_module("cyclonedx.spdx")
            self.purl: Any = importlib.import_module("packageurl")
            importlib.import_module("packaging.requirements")
        except ImportError as error:
            raise MissingExtraError(
                f"a bill of materials needs cyclonedx-python-lib: {error}",
                hint="pip install 'trimtab[build]'",
            ) from error

    def property(self, name: str, value: str) -> Any:
        return self.base.Property(name=f"{ROOT}:{name}", value=value)

    def file(self, path: Path, name: str) -> Any:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        return self.parts.Component(
            type=self.parts.ComponentType.FILE,
            name=name,
            bom_ref=f"file:{name}",
            hashes=[self.base.HashType(alg=self.base.HashAlgorithm.SHA_256, content=content)],
        )

    def component(self, installed: metadata.Distribution) -> Any:
        name, version = normalise(installed.name), installed.version
        purl = self.purl.PackageURL(type="pypi", name=name, version=version)
        return self.parts.Component(
            type=self.parts.ComponentType.LIBRARY,
            name=name,
            version=version,
            bom_ref=str(purl),
            purl=purl,
            licenses=self.licence(installed.metadata),
        )

    def licence(self, fields: Any) -> list[Any]:
        """The SPDX expression where there is one, else names; empty where nothing is said."""
        said = [fields.get("License-Expression") or "", fields.get("License") or ""]
        for text in (one.strip() for one in said):
            if not text or len(text) > _LONG or "\n" in text:
                continue
            known = self.spdx.fixup_id(text)
            if known:
                return [self.licences.DisjunctiveLicense(id=known)]
            if self.spdx.is_expression(text):
                return [self.licences.LicenseExpression(text)]
            return [self.licences.DisjunctiveLicense(name=text)]
        names = [
            line.rpartition(" :: ")[2]
            for line in fields.get_all("Classifier") or []
            if line.startswith("License :: ") and line != "License :: OSI Approved"
        ]
        return [self.licences.DisjunctiveLicense(name=one) for one in sorted(set(names))]


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise NotFoundError(
            f"{name} is not installed, so what serves the model cannot be listed",
            hint="pip install trimtab",
        ) from error


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
