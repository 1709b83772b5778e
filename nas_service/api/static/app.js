// The dashboard: what is chosen, and when what is fetched again.

import { dropToken, follow, get, keepToken, pages, Refused, takeToken } from "./client.js";
import { axisTitle, drawFront } from "./front.js";
import { addEvent, bar, pill, progressText, showBoards, showCandidates, showJobs } from "./tables.js";

const API = "/api/v1";
const POLL_MS = 2000;
const part = encodeURIComponent;
const $ = (id) => document.getElementById(id);

const view = { job: null, candidate: null, curve: null, axis: null, front: null, candidates: [], seen: "", stream: null, lastEvent: 0, timer: null };

function showSignIn(message = "") {
  clearTimeout(view.timer);
  view.stream?.abort();
  view.stream = null;
  $("board").hidden = $("sign-out").hidden = true;
  $("sign-in").hidden = false;
  $("token-error").textContent = message;
  $("token").focus();
}

function showBoard() {
  $("sign-in").hidden = true;
  $("board").hidden = $("sign-out").hidden = false;
  poll();
}

async function poll() {
  clearTimeout(view.timer);
  try {
    await refresh();
    $("service").textContent = "";
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      dropToken();
      return showSignIn(error.message);
    }
    $("service").textContent = error instanceof Refused ? error.message : "the service does not answer; trying again";
  }
  view.timer = setTimeout(poll, document.hidden ? 5 * POLL_MS : POLL_MS);
}

async function refresh() {
  const [{ jobs }, { boards }] = await Promise.all([get(`${API}/jobs`, { limit: 50 }), get(`${API}/boards`)]);
  const wanted = new URLSearchParams(location.search).get("job");
  view.job ??= jobs.find((job) => job.id === wanted)?.id ?? jobs[0]?.id ?? null;
  showJobs($("jobs"), jobs, view.job, chooseJob);
  showBoards($("boards"), boards);
  if (view.job) await refreshJob();
}

async function refreshJob() {
  const id = view.job;
  const job = await get(`${API}/jobs/${part(id)}`);
  if (id !== view.job) return;
  showJob(job);
  const over = ["finished", "failed", "stopped"].includes(job.state);
  if (!view.stream && (!over || !view.lastEvent)) startLog(id);  // a resumed job goes on where its log ended
  const seen = JSON.stringify([id, job.state, job.candidates]);
  if (seen === view.seen) return;
  const [candidates, front] = await Promise.all([
    pages(`${API}/jobs/${part(id)}/candidates`, "candidates"), fetchFront(id)]);
  if (id !== view.job) return;
  Object.assign(view, { seen, candidates, front });
  redraw();
}

async function fetchFront(id) {
  const board = view.axis?.startsWith("latency_ms@") ? view.axis.split("@")[1] : null;
  return get(`${API}/jobs/${part(id)}/front`, { board });
}

function showJob(job) {
  $("job-name").textContent = job.name;
  $("job-state").replaceWith(Object.assign(pill(job.state), { id: "job-state" }));
  const strategies = [job.spec.strategy].flat().map((s) => `${s.name} (${s.evaluations})`).join(", ");
  $("job-facts").textContent = [
    job.id, job.spec.dataset?.name, `space ${job.spec.space?.preset}`, strategies, (job.spec.objectives ?? []).join(" · "),
  ].filter(Boolean).join("  |  ");
  const progress = bar(job.progress) ?? Object.assign(document.createElement("div"), { hidden: true });
  progress.id = "job-progress";
  $("job-progress").replaceWith(progress);
  $("job-message").textContent = [progressText(job.progress), job.message].filter(Boolean).join(" · ");
}

function redraw() {
  const { front, candidates } = view;
  if (!front) return;
  showAxes(front);
  drawFront($("front"), { points: front.points, axis: view.axis, candidate: view.curve, onSelect: chooseCandidate });
  $("front-note").textContent = front.points.length
    ? `${front.points.length} operating points of ${new Set(front.points.map((p) => p.candidate_id)).size} candidates, ` +
      `minimal in ${front.objectives.join(", ")}. Choose a point or a row to see that candidate's whole curve.`
    : "No point yet: it appears with the first candidate that has every objective.";
  const finished = candidates.filter((c) => c.status === "finished").length;
  $("candidates-count").textContent = `${candidates.length} asked for, ${finished} finished`;
  showCandidates($("candidates").tBodies[0], [...candidates].reverse(), view.candidate, chooseCandidate);
}

function showAxes(front) {
  const axes = ["macs", ...front.boards.map((board) => `latency_ms@${board}`)];
  view.axis = axes.includes(view.axis) ? view.axis : axes.includes(front.axis) ? front.axis : "macs";
  const shown = [...$("axis").options].map((option) => option.value);
  if (shown.join() !== axes.join()) $("axis").replaceChildren(...axes.map((axis) => new Option(axisTitle(axis), axis)));
  $("axis").value = view.axis;
}

function chooseJob(id) {
  view.stream?.abort();
  Object.assign(view, { job: id, candidate: null, curve: null, axis: null, front: null, seen: "", stream: null, lastEvent: 0 });
  $("log").replaceChildren();
  history.replaceState(null, "", `?job=${part(id)}`);
  poll();
}

async function chooseCandidate(id) {
  view.candidate = view.candidate === id ? null : id;
  view.curve = null;
  redraw();
  if (!view.candidate) return;
  const found = await get(`${API}/candidates/${part(id)}`);
  if (view.candidate !== id) return;
  view.curve = found;
  redraw();
}

function startLog(id) {
  const stream = new AbortController();
  view.stream = stream;
  follow(`${API}/jobs/${part(id)}/events`, {
    after: view.lastEvent,
    signal: stream.signal,
    onEvent: (event) => {
      view.lastEvent = event.id;
      addEvent($("log"), event);
    },
  }).catch((error) => { $("service").textContent = error.message; })
    .finally(() => { if (view.stream === stream) view.stream = null; });
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("token").value.trim());
  $("token").value = "";
  showBoard();
});
$("sign-out").addEventListener("click", () => {
  dropToken();
  showSignIn();
});
$("axis").addEventListener("change", () => {
  view.axis = $("axis").value;
  view.seen = "";
  poll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.addEventListener("visibilitychange", () => !document.hidden && !$("board").hidden && poll());

if (takeToken()) showBoard();
else showSignIn();
