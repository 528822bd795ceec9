"use strict";
const sender = SENDER;
const said = document.getElementById("said");
let taken = false;
function sessionIdOf(data) {
  if (typeof data === "string") {
    try { data = JSON.parse(data); } catch { return data; }
  }
  return data && typeof data === "object" ? data.session_id : null;
}
window.addEventListener("message", async (event) => {
  if (event.origin !== sender || taken) return;
  const id = sessionIdOf(event.data);
  if (typeof id !== "string" || !id) return;
  taken = true;
  try {
    const answer = await fetch(window.location.pathname, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({session_id: id}),
      credentials: "same-origin",
    });
    const content = await answer.json();
    if (answer.ok) window.location.replace(content.next);
    else said.textContent = content.message;
  } catch {
    said.textContent = "The sign-in did not reach its end: try again.";
  }
});
for (const other of new Set([window.opener, window.parent])) {
  if (other && other !== window) other.postMessage({ready: true}, sender);
}
