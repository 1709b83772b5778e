// Lists and tables. Text goes in as text, never as markup.

const TONE = {
  finished: "good", idle: "good", new: "warn", mismatch: "bad",
  queued: "warn", training: "busy", searching: "busy", finishing: "busy", measuring: "busy", fetching: "busy",
  asked: "warn", evaluated: "busy", failed: "bad", stopped: "warn", lost: "bad", draining: "warn", stopping: "warn",
};

export function make(tag, { text, className, title } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  if (title) element.title = title;
  element.append(...children.filter(Boolean));
  return element;
}

export const pill = (state) => make("span", { text: state, className: `pill ${TONE[state] ?? ""}` });

export const big = (value) =>
  value === undefined || value === null ? "–" : Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 }).format(value);

const percent = (value) => (value === undefined || value === null ? "–" : `${value.toFixed(1)} %`);

export function ago(unixSeconds, now = Date.now() / 1000) {
  if (!unixSeconds) return "never";
  const seconds = Math.max(0, Math.round(now - unixSeconds));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

export function bar(progress) {
  if (!progress?.total) return null;
  const inner = make("div");
  inner.style.width = `${Math.min(100, (100 * progress.done) / progress.total)}%`;
  const outer = make("div", { className: "progress" }, inner);
  outer.setAttribute("role", "progressbar");
  outer.setAttribute("aria-valuenow", progress.done);
  outer.setAttribute("aria-valuemax", progress.total);
  outer.setAttribute("aria-label", progress.phase);
  return outer;
}

export function progressText(progress) {
  if (!progress) return "";
  const count = progress.total ? `${progress.done} of ${progress.total}` : "";
  return [progress.phase, count, progress.detail].filter(Boolean).join(" · ");
}

export function showJobs(list, jobs, chosen, onChoose) {
  list.replaceChildren(
    ...jobs.map((job) => {
      const button = make("button", {},
        make("div", { className: "spread" }, make("strong", { text: job.name }), pill(job.state)),
        bar(job.progress),
        make("div", { className: "muted small", text: progressText(job.progress) || `created ${ago(job.created_at)}` }));
      button.type = "button";
      button.setAttribute("aria-current", String(job.id === chosen));
      button.addEventListener("click", () => onChoose(job.id));
      return make("li", {}, button);
    }));
  if (!jobs.length) list.append(make("li", { className: "muted", text: "None yet. Start one with `nas submit JOB.yaml`." }));
}

// What a board is doing, or why it does nothing.
function boardState(board) {
  if (board.state !== "ready") return board.state;
  if (board.mismatch) return "mismatch";
  return board.presence === "here" ? board.activity : board.presence;
}

export function showBoards(list, boards) {
  list.replaceChildren(
    ...boards.map((board) => {
      const [lease] = board.leases;
      const name = make("strong", { text: board.name, title: board.mismatch ?? "" });
      return make("li", {},
        make("div", { className: "spread" }, name, pill(boardState(board))),
        make("div", { className: "muted small", text: `class ${board.board_class} · heard ${ago(board.last_seen)}` }),
        lease && make("div", {
          className: "small",
          text: `${lease.half} half at tier ${lease.tier}, leased ${ago(lease.granted_at)}`,
          title: `lease ${lease.lease_id}`,
        }));
    }));
  if (!boards.length) list.append(make("li", { className: "muted", text: "None yet. Add one with `nas board add`." }));
}

export function showCandidates(body, candidates, chosen, onChoose) {
  body.replaceChildren(
    ...candidates.map((candidate) => {
      const { costs, accuracies } = candidate;
      const row = make("tr", { title: candidate.error ?? "" },
        make("td", { text: candidate.number }),
        make("td", {}, make("span", { className: `dot ${candidate.coupling}` }), candidate.coupling ?? "–"),
        make("td", { text: candidate.strategy }),
        make("td", {}, pill(candidate.status)),
        ...[percent(accuracies.little), percent(accuracies.big), big(costs.little_macs), big(costs.worst_macs), big(costs.params)]
          .map((text) => make("td", { text, className: "number" })),
        make("td", { text: candidate.finalist ? "finalist" : "", className: "muted" }));
      row.tabIndex = 0;
      row.setAttribute("aria-selected", String(candidate.id === chosen));
      row.addEventListener("click", () => onChoose(candidate.id));
      row.addEventListener("keydown", (event) => event.key === "Enter" && onChoose(candidate.id));
      return row;
    }));
}

export function addEvent(list, event, limit = 500) {
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  const time = new Date(event.created_at * 1000);
  list.append(make("li", {},
    make("time", { text: time.toLocaleTimeString("en-GB"), title: time.toISOString() }),
    make("span", { text: event.kind, className: "kind" }),
    make("span", { text: event.message, className: "text" })));
  while (list.childElementCount > limit) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}
