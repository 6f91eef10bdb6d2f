"""Asks GraphQL queries of the application in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from qenex.principals import Principal
    from tests.unit.api.conftest import Api

MEDIA_TYPE = "application/graphql-response+json"


class Graph:
    """A client of `/graphql`."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def post(
        self, query: str, who: Principal | None = None, operation: str | None = None, **variables: Any
    ) -> httpx.Response:
        headers = {"accept": MEDIA_TYPE} | (self.api.known(who) if who is not None else {})
        body = {"query": query, "variables": variables} | (
            {"operationName": operation} if operation is not None else {}
        )
        return await self.api.http.post("/graphql", json=body, headers=headers)

    async def data(self, query: str, who: Principal | None = None, **variables: Any) -> dict[str, Any]:
        """What a query that is wholly answered finds."""
        answer = await self.post(query, who, **variables)
        reply = answer.json()
        assert answer.status_code == 200, answer.text
        assert "errors" not in reply, answer.text
        found: dict[str, Any] = reply["data"]
        return found

    async def partly(
        self, query: str, who: Principal | None = None, **variables: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What a query finds, and the errors of its fields."""
        answer = await self.post(query, who, **variables)
        assert answer.status_code == 200, answer.text
        reply = answer.json()
        return reply["data"], reply["errors"]

    async def refused(self, query: str, code: str, **variables: Any) -> list[dict[str, Any]]:
        """The errors of a query that is not carried out."""
        answer = await self.post(query, **variables)
        reply = answer.json()
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert "data" not in reply
        assert {error["extensions"]["code"] for error in reply["errors"]} == {code}, answer.text
        found: list[dict[str, Any]] = reply["errors"]
        return found
