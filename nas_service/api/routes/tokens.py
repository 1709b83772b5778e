"""/tokens: who may do what."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.problems import problem_responses
from nas_service.api.views import NewToken, TokenList, TokenView
from nas_service.store.tokens import Role


class TokenRequest(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=63)
    role: Role = Role.VIEWER


def tokens_router(context: Context) -> APIRouter:
    """Return the routes of /tokens, for admins."""
    router = APIRouter(prefix="/tokens", tags=["tokens"], dependencies=[require(Role.ADMIN)])
    tokens = context.store.tokens

    @router.get("")
    def list_tokens() -> TokenList:
        """List the tokens' names and roles, revoked ones too; secrets are not stored."""
        return TokenList(tokens=[TokenView.of(token) for token in tokens.list()])

    @router.post("", status_code=201, responses=problem_responses(409, 422))
    def create_token(token: TokenRequest) -> NewToken:
        """Create a token; its secret is shown only now."""
        return NewToken(name=token.name, role=token.role.value, secret=tokens.create(token.name, token.role))

    @router.delete("/{name}", status_code=204, responses=problem_responses(404))
    def revoke_token(name: str) -> None:
        """Revoke a token at once."""
        tokens.revoke(name)

    return router
