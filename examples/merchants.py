"""A service for many merchants, each with a ledger of its own: docs/how-to/sign-in-many-merchants.md explains it."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from gotsurge_async import Created, FileStore, GotSurge, GotSurgeError, InDoubt, InvalidData, Refused, Sealer, Task
from gotsurge_async.auth.web.asgi import SignInApp
from gotsurge_async.auth.web.pages import SignInPages
from gotsurge_async.bulk import Changed, Desk
from gotsurge_async.webhooks import Book, Change, Follower, Inbox, Only, Receiver
from gotsurge_async.webhooks.web.asgi import WebhookApp

MERCHANTS = {"acme": os.environ["ACME_PASSWORD"], "borneo": os.environ["BORNEO_PASSWORD"]}


def logged_in(request: Request) -> str | None:  # replace this with your own login
    for name, password in MERCHANTS.items():
        if request.headers.get("Authorization") == f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}":
            return name
    return None


def merchant(request: Request) -> str:
    if name := logged_in(request):
        return name
    raise HTTPException(401, "log in", headers={"WWW-Authenticate": "Basic"})


Merchant = Annotated[str, Depends(merchant)]


async def on_status(change: Change) -> None:
    print(change.account, change.task_id, change.previous, "->", change.status, flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        store = FileStore("tokens.json", sealer=Sealer.from_env())
        gs = await stack.enter_async_context(GotSurge.from_env(bearer_token=None, token_store=store))
        inbox = await stack.enter_async_context(Inbox.open("orders.book.db"))
        app.state.book = await stack.enter_async_context(Book.open("orders.book.db"))
        accounts = {name: gs.as_account(name) for name in MERCHANTS}
        app.state.desks = {}
        for name, account in accounts.items():
            desk = await Desk.open(account, f"{name}.ledger.db")
            app.state.desks[name] = await stack.enter_async_context(desk)
            receiver = Receiver(inbox, tokens=[os.environ[f"{name.upper()}_WEBHOOK_TOKEN"]], account=name)
            app.mount(f"/webhooks/{name}", WebhookApp(receiver))
        await stack.enter_async_context(Follower(inbox, app.state.book, accounts, on_status=on_status))
        pages = SignInPages(
            gs.oauth,
            gs.adopt,
            redirect_url=f"{os.environ['PUBLIC_URL']}/gotsurge/callback",
            account=lambda scope, user: logged_in(Request(scope)),
        )
        app.mount("/gotsurge", SignInApp(pages))
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/", response_class=HTMLResponse)
async def home(name: Merchant) -> str:
    return f'{name}: <a href="/gotsurge/start">connect with GotSurge</a>'


@app.post("/orders", status_code=201)
async def create(order: dict[str, Any], name: Merchant, response: Response) -> dict[str, str]:
    try:
        outcome = await app.state.desks[name].create(order, timeout=20)
    except InvalidData as error:
        raise HTTPException(422, f"not created: {error}") from None
    except GotSurgeError as error:  # nothing was sent
        raise HTTPException(503, f"not created: {error}") from None
    match outcome:
        case Created(receipt=receipt):
            task = Task(id=receipt.id, tracking_id=order["tracking_id"], current_status=receipt.current_status)
            await app.state.book.observe(name, task, source="create")
            return {"task_id": task.id}
        case InDoubt(error=error):
            response.status_code = 202
            return {"in_doubt": f"GotSurge may have it, and it is not sent again: {error}"}
        case Changed(fields=fields):
            raise HTTPException(409, f"not created: another order has this tracking id, with other {', '.join(fields)}")
        case Refused(error=error):
            raise HTTPException(422, f"not created: {error}")
    raise HTTPException(503, f"not created: {outcome.error}")


@app.get("/orders/{key}")
async def where(key: str, name: Merchant) -> dict[str, Any]:
    async for order in app.state.book.orders(Only(name=key, account=name)):
        return {"task_id": order.task_id, "status": order.status}
    raise HTTPException(404, "no such order")
