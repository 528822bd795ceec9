"""The HTML of the simulator's pages. They work without scripts, except for the one that hands over a session id."""

import secrets
from html import escape
from string import Template
from urllib.parse import urlsplit

import msgspec
from attrs import frozen

_FRAME = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title - GotSurge simulator</title>
<style nonce="$nonce">
:root { color-scheme: light dark; --ink: #14323f; --sea: #0b6e8a; --paper: #fff; --mist: #e8f1f4; --line: #b9cdd5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3eef2; --sea: #4fb3d0; --paper: #14262e; --mist: #0b171c; --line: #35505b; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--mist); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
main { width: min(26rem, 92vw); padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .75rem; }
h1 { margin: 0 0 1rem; font-size: 1.35rem; line-height: 1.25; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { width: 100%; padding: .6rem .7rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .4rem; }
button { padding: .6rem 1.2rem; font: inherit; font-weight: 600; color: var(--sea); background: transparent;
  border: 1px solid var(--sea); border-radius: .4rem; cursor: pointer; }
button.main { color: var(--paper); background: var(--sea); }
:focus-visible { outline: 3px solid var(--sea); outline-offset: 2px; }
.actions { display: flex; gap: .75rem; margin-top: 1.5rem; flex-wrap: wrap; }
.wrong { padding: .6rem .8rem; border-left: .3rem solid #b3261e; background: var(--mist); }
.note { margin: 1.5rem 0 0; font-size: .85rem; opacity: .8; }
.whole { position: fixed; inset: 0; width: 100%; height: 100%; border: 0; background: var(--paper); }
</style>
</head>
<body>
<main>
<h1>$title</h1>
$content
<p class="note">This is a simulator on your own machine. Nobody drives, and nothing is billed.</p>
</main>
</body>
</html>
""")

_LOGIN = Template("""$wrong
<p>$reason</p>
<form method="post" action="$action">
<input type="hidden" name="form" value="$form">
<label for="email">Email</label>
<input id="email" name="email" type="email" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<div class="actions"><button class="main" type="submit">Sign in</button></div>
</form>""")

_CONSENT = Template("""<p>You are signed in as <strong>$email</strong>.</p>
<p><strong>$partner</strong> asks to:</p>
<ul><li>create, read and cancel your orders</li><li>ask for prices in your name</li></ul>
<p>You will be sent back to <strong>$target</strong>.</p>
<form method="post" action="$action">
<input type="hidden" name="form" value="$form">
<div class="actions">
<button class="main" type="submit" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="refuse">Refuse</button>
<button type="submit" name="decision" value="other">Sign in as somebody else</button>
</div>
</form>""")

# The opener, if there is one, is the partner's page that opened this one; otherwise it is shown in a frame.
_HAND_OVER = Template("""<p>You are signed in. Your session goes to <strong>$target</strong>.</p>
<noscript><p class="wrong">The session is handed over by a script: please allow scripts on this page.</p></noscript>
<script nonce="$nonce">
const handOver = $data;
const origin = new URL(handOver.target).origin;
const message = {session_id: handOver.session_id};
if (window.opener) {
  window.opener.postMessage(message, origin);
} else {
  const frame = document.createElement("iframe");
  frame.className = "whole";
  frame.title = "Receive session";
  frame.addEventListener("load", () => frame.contentWindow.postMessage(message, origin));
  frame.src = handOver.target;
  document.body.append(frame);
}
</script>""")


@frozen
class Page:
    """A page: its HTML, the nonce that marks the styles and scripts in it as its own, and what it may frame."""

    html: str
    nonce: str
    frame: str = ""


def login_page(*, action: str, form: str, reason: str, wrong: str = "") -> Page:
    """The form that asks for email and password; ``wrong`` says what was wrong with the last ones."""
    notice = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    content = _LOGIN.substitute(wrong=notice, reason=escape(reason), action=escape(action), form=escape(form))
    return _page("Sign in to GotSurge", content)


def consent_page(*, action: str, form: str, email: str, partner: str, target: str) -> Page:
    """The form that asks whether the partner may act for the user."""
    texts = {"action": action, "form": form, "email": email, "partner": partner, "target": _origin(target)}
    return _page(f"Allow {partner}?", _CONSENT.substitute({name: escape(text) for name, text in texts.items()}))


def hand_over_page(*, target: str, session_id: str) -> Page:
    """The page whose script posts the session id to the partner's page, and to no other origin."""
    data = msgspec.json.encode({"target": target, "session_id": session_id}).decode()
    # Inside a script element no text may end the element.
    data = data.replace("<", "\\u003c")
    nonce = secrets.token_urlsafe(16)
    content = _HAND_OVER.substitute(target=escape(_origin(target)), nonce=nonce, data=data)
    return _page("Signed in", content, nonce, frame=_origin(target))


def wrong_page(*, title: str, text: str) -> Page:
    """A page that says what went wrong."""
    return _page(title, f'<p class="wrong" role="alert">{escape(text)}</p>')


def _origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _page(title: str, content: str, nonce: str = "", frame: str = "") -> Page:
    nonce = nonce or secrets.token_urlsafe(16)
    return Page(_FRAME.substitute(title=escape(title), content=content, nonce=nonce), nonce, frame)
