// Talks to the API: the token, JSON requests, and server-sent events over fetch (EventSource cannot send a header).

const KEY = "nas-token";

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// A token in the address (#token=...) is taken over and removed from the address at once.
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem(KEY, found);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function dropToken() {
  sessionStorage.removeItem(KEY);
}

function headers(extra) {
  return { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}`, ...extra };
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return new Refused(response.status, problem.detail ?? `the service answered ${response.status}`);
}

export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  const response = await fetch(path + search, { headers: headers() });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

// One page after another, until a page is not full.
export async function pages(path, key, size = 200) {
  const rows = [];
  for (;;) {
    const page = (await get(path, { limit: size, offset: rows.length }))[key];
    rows.push(...page);
    if (page.length < size) return rows;
  }
}

// Calls `onEvent({id, kind, message, data, created_at})` for each event after `after`, until the job ends.
export async function follow(path, { after = 0, signal, onEvent }) {
  let last = after;
  for (;;) {
    try {
      const response = await fetch(path, { headers: headers({ "Last-Event-ID": String(last) }), signal });
      if (!response.ok) throw await refusal(response);
      await readEvents(response.body, (event) => {
        last = event.id;
        onEvent(event);
      });
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status < 500) throw error;
      await new Promise((resume) => setTimeout(resume, 2000));
    }
  }
}

async function readEvents(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) onEvent(JSON.parse(data.join("\n")));
    }
  }
}
