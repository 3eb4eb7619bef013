"""Freeze a repository of container images: no push, no retag, no deletion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from uuid import uuid4

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.parallel import each_of
from providers.azure.answers import NOT_FOUND, RestError, translated
from providers.azure.artifacts.freeze import refused
from providers.azure.artifacts.registry import EMPTY, FLAGS, MANIFEST_TYPE, Repository
from providers.azure.network.marks import USE_TAGS, Marks
from providers.azure.resources import declared
from providers.azure.resources.artifacts import ContainerRepository
from providers.azure.session import AzureMeasure

LOCKED: JsonObject = dict.fromkeys(FLAGS, False)
OPEN: JsonObject = dict.fromkeys(FLAGS, True)
_DISALLOWED = frozenset({"REGISTRY_DISALLOWED_OPERATION"})  # "Troubleshoot registry operations"
_CANARY = "firebreak-canary"
_BEFORE = "io.firebreak.before"


@dataclass(frozen=True)
class Contents:
    """What is in a repository, without Firebreak's canary."""

    repository: JsonObject
    manifests: dict[str, JsonObject]
    tags: dict[str, JsonObject]
    canary: str
    """The canary's digest, empty where there is none."""

    @classmethod
    def of(cls, repository: Repository) -> Contents:
        """Read everything."""
        attributes, listed = repository.attributes(), repository.tags()
        canary = str(listed.get(_CANARY, {}).get("digest", ""))
        tags = {name: tag for name, tag in listed.items() if not name.startswith(_CANARY)}
        manifests = repository.manifests()
        manifests.pop(canary, None)
        return cls(attributes, manifests, tags, canary)

    def places(self) -> dict[str, JsonObject]:
        """The attributes of every manifest and tag, by its place in the API."""
        manifests = {f"_manifests/{digest}": flags for digest, flags in self.manifests.items()}
        tags = {f"_tags/{name}": _only_flags(tag) for name, tag in self.tags.items()}
        return {**tags, **manifests}

    def state(self) -> JsonObject:
        """What release restores: whatever is not simply open."""
        kept = {place: flags for place, flags in sorted(self.places().items()) if flags != OPEN}
        return {"repository": self.repository, "not_open": kept}


class LockImages(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.ARTIFACT_FREEZE, name="lock-images"):
    """Switch writing and deleting off for the repository and for every manifest and tag in it.

    The canary is a manifest without content in the same repository: pushing and untagging it worked before.
    A lock has no owner, so a tag of the registry says which workloads count on it, and the last one to be
    released restores what the first one found. The quarantine policy is left alone: it only ever affects
    images that are pushed later.
    """

    permissions = (
        *on_target(
            "Microsoft.ContainerRegistry/registries/read",
            "Microsoft.ContainerRegistry/registries/pull/read",
            "Microsoft.ContainerRegistry/registries/push/write",
            "Microsoft.ContainerRegistry/registries/artifacts/delete",
            "Microsoft.ContainerRegistry/registries/metadata/read",
            "Microsoft.ContainerRegistry/registries/metadata/write",
        ),
        *USE_TAGS,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared repository."""
        return targets_of(workload, of_kind(workload.artifacts, ContainerRepository))

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The registry: a repository is no resource of Azure Resource Manager."""
        return (target.ref[: target.ref.lower().index("/repositories/")],)

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The registry carries the tags."""
        return cls.arns(target)

    def discover(self, target: Target) -> list[Target]:
        """The repository, whose registry has to be there."""
        self._repository(target).document()
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Read the attributes; raises PermanentCloudError when the declared image is not there.

        In a repository that is locked for another workload, the state is the one which that one found.
        """
        repository = self._repository(target)
        contents = Contents.of(repository)
        self._digest(target, contents)
        if self._marks(target).all() and contents.canary:
            return _recorded(repository, contents.canary)
        return contents.state()

    def apply(self, target: Target, state: State) -> Change:
        """Try the canary while that still works, then lock: the repository, its manifests, its tags."""
        repository, marks = self._repository(target), self._marks(target)
        marked = marks.add("open" if state.values["repository"]["writeEnabled"] else "locked")
        before = Contents.of(repository)
        if before.repository["writeEnabled"]:
            self._try_canary(repository, state.values)
        locked = self._lock(repository)
        after = Contents.of(repository)
        return self.done(
            target,
            state,
            changed=marked or locked,
            canary=after.canary,
            manifests=sorted(after.manifests),
            tags={name: tag["digest"] for name, tag in sorted(after.tags.items())},
            artifacts=[self._artifact(target, after)],
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Try to overwrite and to delete the canary, and read attributes, tags and digest back.

        Its control was made by ``apply``, which locks nothing before both have worked. Where the repository
        was locked before there is no canary, and only a push can be tried.
        """
        repository = self._repository(target)
        contents = Contents.of(repository)
        overwrite = partial(repository.push, _CANARY, _manifest({"overwritten": "yes"}))
        removals = [partial(repository.untag, _CANARY)] if change.after["canary"] else []
        return (
            refused("push over the canary", overwrite, _DISALLOWED),
            *(refused("delete the canary", each, _DISALLOWED) for each in removals),
            _all_locked(contents),
            _nothing_pushed(change, contents),
            self.intact(target, change),
        )

    def intact(self, target: Target, change: Change) -> Finding:
        """Fetch the manifest again, and hash it."""
        frozen = change.after["artifacts"][0]
        now = self._artifact(target, Contents.of(self._repository(target)))
        same = (now["digest"], now["sha256"]) == (frozen["digest"], frozen["sha256"])
        seen = "the tag names the same digest" if same else f"the tag now names {now['digest']}"
        return found(Method.CONFIGURATION, seen, holds=same, digest=now["digest"])

    def revert(self, change: Change) -> Finding:
        """Restore the attributes and remove the canary, unless another workload counts on them."""
        target, before = change.target, change.before
        repository = self._repository(target)
        if not self._marks(target).remove():
            return found(
                Method.CONFIGURATION,
                "released here; the repository stays locked for another workload",
                holds=True,
                kept_for_others=True,
            )
        repository.set("", before["repository"])
        contents = Contents.of(repository)
        wrong = [
            (place, before["not_open"].get(place, OPEN))
            for place, flags in contents.places().items()
            if flags != before["not_open"].get(place, OPEN)
        ]
        each_of(lambda one: repository.set(*one), wrong)
        self._remove_canary(repository, contents)
        after = Contents.of(repository).state()
        differs = sorted(name for name in before if after[name] != before[name])
        observed = f"differs from before: {', '.join(differs)}" if differs else "as before"
        return found(Method.CONFIGURATION, observed, holds=not differs, differs=differs)

    def _repository(self, target: Target) -> Repository:
        return Repository(self.access, target.ref)

    def _marks(self, target: Target) -> Marks:
        repository = self._repository(target)
        return Marks(self.access, repository.registry_id, f"images {repository.name}")

    def _declared_tag(self, target: Target) -> str:
        resource = declared(self.run.workload, ContainerRepository, target.ref)
        return resource.tag if resource else "latest"

    def _digest(self, target: Target, contents: Contents) -> str:
        tag = self._declared_tag(target)
        if tag not in contents.tags:
            raise PermanentCloudError(
                f"the repository has no image tagged {tag}",
                resource=target.ref,
                remedy="declare the tag that the workload runs",
            )
        return str(contents.tags[tag]["digest"])

    def _artifact(self, target: Target, contents: Contents) -> JsonObject:
        """The digest is the SHA-256 of the manifest, and is computed again here (OCI image specification)."""
        resource = declared(self.run.workload, ContainerRepository, target.ref)
        approved = resource.approved_digest if resource else None
        digest = self._digest(target, contents)
        with translated(target.ref):
            body = self._repository(target).manifest(digest)
        return {
            "ref": f"{target.ref}:{self._declared_tag(target)}",
            "version_id": digest,
            "digest": digest,
            "sha256": sha256(body).hexdigest(),
            "approved": approved,
            "matches": digest == approved if approved else None,
        }

    def _try_canary(self, repository: Repository, before: JsonObject) -> None:
        """Place the canary, unless another workload, or another execution of this step, locks meanwhile.

        That one has placed it, and locked nothing before its own controls had worked.
        """
        with translated(repository.ref):
            try:
                self._place_canary(repository, before)
            except RestError as error:
                if error.code not in _DISALLOWED or repository.attributes()["writeEnabled"]:
                    raise

    def _place_canary(self, repository: Repository, before: JsonObject) -> None:
        """Push it, then push and remove a tag of its own, as the controls of both attempts.

        The canary's own tag is never removed: another execution may be locking it at this moment. A tag that
        is left behind goes with the canary's manifest.
        """
        body = _manifest({_BEFORE: json.dumps(before, sort_keys=True)})
        control = f"{_CANARY}-{uuid4().hex[:12]}"
        repository.push_empty()
        repository.push(_CANARY, body)
        repository.push(control, body)
        repository.untag(control)

    def _lock(self, repository: Repository) -> bool:
        """Lock what is not locked; True where that was anything.

        The repository comes first: from then on nothing in it appears or goes between listing and locking.
        """
        whole = repository.attributes() != LOCKED
        if whole:
            repository.set("", LOCKED)
        contents = Contents.of(repository)
        places = contents.places()
        if contents.canary:
            canary = repository.manifests()[contents.canary]
            places = {f"_manifests/{contents.canary}": canary, **places}
        free = [place for place, flags in places.items() if flags != LOCKED]
        each_of(lambda place: repository.set(place, LOCKED), free)
        return whole or bool(free)

    def _remove_canary(self, repository: Repository, contents: Contents) -> None:
        if not contents.canary:
            return
        repository.set(f"_manifests/{contents.canary}", OPEN)
        with translated(repository.ref):
            try:
                repository.delete(contents.canary)
            except RestError as error:
                if error.status != NOT_FOUND:  # another execution of this step removed it
                    raise


def _only_flags(tag: JsonObject) -> JsonObject:
    return {name: tag[name] for name in FLAGS}


def _manifest(annotations: dict[str, str]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": "application/vnd.firebreak.canary",
        "config": EMPTY,
        "layers": [EMPTY],
        "annotations": annotations,
    }
    return json.dumps(document, sort_keys=True).encode()


def _recorded(repository: Repository, canary: str) -> JsonObject:
    """The state that the first workload found, as its canary tells."""
    with translated(repository.ref):
        document = json.loads(repository.manifest(canary))
    before: JsonObject = json.loads(document["annotations"][_BEFORE])
    return before


def _all_locked(contents: Contents) -> Finding:
    free = [place for place, flags in contents.places().items() if flags != LOCKED]
    whole = contents.repository == LOCKED
    return found(
        Method.CONFIGURATION,
        f"repository {'locked' if whole else 'NOT locked'}, {len(free)} of its manifests and tags not locked",
        holds=whole and not free,
        not_locked=free[:20],
    )


def _nothing_pushed(change: Change, contents: Contents) -> Finding:
    known = {*change.after["manifests"], *change.after["tags"]}
    pushed = sorted(name for name in {*contents.manifests, *contents.tags} if name not in known)
    moved = [
        name
        for name, digest in change.after["tags"].items()
        if contents.tags.get(name, {}).get("digest") != digest
    ]
    named = f"pushed or moved after the freeze: {', '.join([*pushed, *moved][:3])}"
    return found(
        Method.CONFIGURATION,
        named if pushed or moved else f"{len(contents.manifests)} manifests as frozen",
        holds=not pushed and not moved,
        pushed=pushed[:20],
        moved=moved[:20],
    )
