"""The operations on models, one method each, named as in the contract (section 4)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steelyard.client._http import MOVING_BYTES, Http, Query
from steelyard.client.addresses import route
from steelyard.client.artifacts import ArtifactStream, open_artifact
from steelyard.client.decoding import decode
from steelyard.client.errors import InvalidReference, UnexpectedAnswer
from steelyard.client.references import ModelName, Reference
from steelyard.client.types import (
    ActivityPage,
    AliasPage,
    AliasTarget,
    Comparison,
    Download,
    Facets,
    ModelDetail,
    ModelPage,
    ModelSummary,
    VersionList,
    Visibility,
)


def model_route(model: str | ModelName, *rest: str) -> str:
    """The route of a model of the native API, or of something below it."""
    name = ModelName.parse(model) if isinstance(model, str) else model
    return route("org", name.org, "models", name.name, *rest)


class ModelCalls:
    """Calls about models: `model` is `ORG/NAME`, `version` an exact version, `ref` also an alias, `latest` or a range.

    All raise ApiError (NotFound, Forbidden, …), ConnectionFailed and InvalidReference.
    """

    _http: Http

    def list_models(
        self,
        org: str,
        *,
        name: str | None = None,
        search: str | None = None,
        tags: Sequence[str] = (),
        license: Sequence[str] = (),  # noqa: A002 the contract's word
        task_categories: Sequence[str] = (),
        framework: Sequence[str] = (),
        size_category: Sequence[str] = (),
        sort_by: str | None = None,
        sort_dir: str | None = None,
        page: int = 1,
        limit: int = 50,
        include_public: bool = False,
    ) -> ModelPage:
        """One page of an organisation's models, each with its latest version.

        `search` looks in names and summaries; the sequences are "any of"; `sort_by` is created_at, name, updated_at or
        file_size_bytes; `limit` 1 to 200; `include_public` adds other organisations' public models.
        """
        query = {
            "name": name, "search": search, "tags": tags, "license": license, "task_categories": task_categories,
            "framework": framework, "size_category": size_category, "sort_by": sort_by, "sort_dir": sort_dir,
            "page": page, "limit": limit, "include_public": include_public or None,
        }  # fmt: skip
        return decode(ModelPage, self._http.call("GET", route("org", org, "models"), query=query).body)

    def iter_models(self, org: str, **filters: Any) -> Iterator[ModelSummary]:
        """All models of an organisation, page after page; filters as for `list_models`."""
        page = 1
        while True:
            answer = self.list_models(org, page=page, **filters)
            yield from answer.models
            if not answer.has_next or not answer.models:
                return
            page += 1

    def get_model_facets(self, org: str, **filters: Any) -> Facets:
        """What an organisation's models offer to filter by; filters as for `list_models`."""
        query: Query = filters
        return decode(Facets, self._http.call("GET", route("org", org, "models", "facets"), query=query).body)

    def list_model_activity(
        self, org: str, *, limit: int = 50, offset: int = 0, user_id: str | None = None, model_name: str | None = None
    ) -> ActivityPage:
        """Downloads of an organisation's models, newest first."""
        query = {"limit": limit, "offset": offset, "user_id": user_id, "model_name": model_name}
        return decode(ActivityPage, self._http.call("GET", route("org", org, "models", "activity"), query=query).body)

    def get_model_latest(self, model: str) -> ModelDetail:
        """The latest version: the highest that is neither a pre-release nor yanked."""
        return decode(ModelDetail, self._http.call("GET", model_route(model)).body)

    def get_model_detail(self, model: str, ref: str) -> ModelDetail:
        """One version, by number, alias, range or `latest`."""
        return decode(ModelDetail, self._http.call("GET", model_route(model, ref)).body)

    def resolve(self, reference: str | Reference) -> ModelDetail:
        """The version that `ORG/NAME[:REF]` means now."""
        parsed = Reference.parse(reference) if isinstance(reference, str) else reference
        name = str(parsed.model)
        return self.get_model_detail(name, parsed.ref) if parsed.ref else self.get_model_latest(name)

    def list_model_versions(self, model: str) -> VersionList:
        """All versions of a model, the latest first."""
        return decode(VersionList, self._http.call("GET", model_route(model, "versions")).body)

    def compare_model_versions(self, model: str, versions: Sequence[str]) -> Comparison:
        """Two to five versions side by side."""
        query = {"versions": list(versions)}
        return decode(Comparison, self._http.call("GET", model_route(model, "compare"), query=query).body)

    def update_model_visibility(self, model: str, *, is_public: bool) -> Visibility:
        """Open a model to every caller with a token, or close it again; covers all versions."""
        body = {"is_public": is_public}
        path = model_route(model, "visibility")
        return decode(Visibility, self._http.call("PATCH", path, body=body, resend_safe=True).body)

    def delete_model(self, model: str, version: str) -> None:
        """Delete one version for good; its number is spent. Conflict while an alias points at it."""
        self._http.call("DELETE", model_route(model, version))

    def delete_whole_model(self, model: str) -> None:
        """Delete a model with all its versions. Conflict while an alias points at one of them."""
        self._http.call("DELETE", model_route(model))

    def initiate_model_download(self, model: str, ref: str = "latest") -> Download:
        """A URL of the whole version as one tar, good without a token until it expires."""
        return decode(Download, self._http.call("POST", model_route(model, ref, "download")).body)

    def get_model_download_status(self, org: str, download_id: str) -> Download:
        """How a download of `initiate_model_download` stands."""
        path = route("org", org, "downloads", "models", download_id)
        return decode(Download, self._http.call("GET", path).body)

    def set_model_alias(self, model: str, version: str, alias: str, *, protected: bool | None = None) -> AliasTarget:
        """Point an alias at a version (or `latest`), moving it if another version has it. `protected`: owners only."""
        body: dict[str, object] = {"alias": alias}
        if protected is not None:
            body["protected"] = protected
        path = model_route(model, version, "aliases")
        return decode(AliasTarget, self._http.call("POST", path, body=body, resend_safe=True).body)

    def remove_model_alias(self, model: str, version: str, alias: str) -> None:
        """Take an alias away from a version."""
        self._http.call("DELETE", model_route(model, version, "aliases", alias))

    def list_model_aliases(self, model: str, *, limit: int | None = None, cursor: str | None = None) -> AliasPage:
        """The aliases of a model, each with its history."""
        query = {"limit": limit, "cursor": cursor}
        return decode(AliasPage, self._http.call("GET", model_route(model, "aliases"), query=query).body)

    def update_model_metrics(self, model: str, version: str, metrics: Mapping[str, float | str | None]) -> ModelDetail:
        """Merge metrics into a version: keys not named stay, None removes a key."""
        path = model_route(model, version, "metrics")
        return decode(ModelDetail, self._http.call("PUT", path, body=dict(metrics)).body)

    def publish_model(
        self,
        model: str,
        *,
        artifacts: Mapping[str, str],
        version: str | None = None,
        bump: str | None = None,
        idempotency_key: str | None = None,
        **metadata: Any,
    ) -> tuple[ModelDetail, bool]:
        """Publish a version of files the organisation holds already: (the version, whether it is new).

        `artifacts` maps path to OID; either `version`, or `bump` (major, minor, patch) with an `idempotency_key`;
        `metadata` is any other key of the contract's publish body. AlreadyExists when the version is there with other
        contents; ValidationFailed naming each OID that is not held.
        """
        if (version is None) == (bump is None):
            raise InvalidReference("publish takes either a version or a bump, not both and not neither")
        number = {"version": version} if version is not None else {"bump": bump}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        answer = self._http.call(
            "POST", model_route(model, "versions"), body=number | {"artifacts": dict(artifacts)} | metadata,
            headers=headers, resend_safe=version is not None or idempotency_key is not None, patience=MOVING_BYTES,
        )  # fmt: skip
        return decode(ModelDetail, answer.body), answer.status == 201

    def yank_model(self, model: str, version: str, reason: str) -> ModelDetail:
        """Take a version out of `latest` and of ranges; it stays there for who names it exactly."""
        path = model_route(model, version, "yank")
        return decode(ModelDetail, self._http.call("PUT", path, body={"reason": reason}).body)

    def unyank_model(self, model: str, version: str) -> ModelDetail:
        """Take a yank back."""
        path = model_route(model, version, "yank")
        return decode(ModelDetail, self._http.call("DELETE", path, resend_safe=True).body)

    def get_model_artifact(
        self, model: str, ref: str, path: str, *, first_byte: int = 0, length_bytes: int | None = None
    ) -> ArtifactStream:
        """One file of a version as a stream to read in a `with`; the bytes are not checked against their OID.

        `first_byte` and `length_bytes` ask for a part of it. `pull` is the way to get whole files, checked.
        """
        if not path:
            raise UnexpectedAnswer("an artifact path is not empty")
        url = self._http.url(model_route(model, ref, "files", *path.split("/")))
        return open_artifact(self._http, url, first_byte, length_bytes)
