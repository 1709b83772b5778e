// The front's picture: accuracy against expected cost, coloured by coupling, with one candidate's whole curve.

const COUPLINGS = ["independent", "stem", "nested", "triangular"];
const CROWDED = 60;
const SYMBOLS = { independent: "circle", stem: "diamond", nested: "square", triangular: "triangle-up" };

export const axisTitle = (axis) => {
  const [name, board] = axis.split("@");
  const titles = { macs: "Expected MACs", latency_ms: "Expected latency (ms)", energy_mj: "Expected energy (mJ)" };
  return (titles[name] ?? name) + (board ? ` on ${board}` : "");
};

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const threshold = (value) => (typeof value === "number" ? value.toPrecision(4) : value);

function hover(point, axis) {
  const others = Object.entries(point.values)
    .filter(([name]) => name !== axis && name !== "error")
    .map(([name, value]) => `${plain(name)} ${value.toLocaleString("en", { maximumSignificantDigits: 4 })}`);
  return [
    `<b>Candidate ${point.number}</b> (${plain(point.coupling)})`,
    `threshold ${plain(threshold(point.threshold))}, ${percent(point.escalation_rate)} escalated`,
    ...others,
  ].join("<br>");
}

function couplingTrace(coupling, points, axis) {
  const crowded = points.length > CROWDED; // rings round points that overlap hide the points
  return {
    name: coupling,
    type: "scatter",
    mode: "markers",
    x: points.map((p) => p.values[axis]),
    y: points.map((p) => 100 * p.accuracy),
    text: points.map((p) => hover(p, axis)),
    customdata: points.map((p) => p.candidate_id),
    hovertemplate: "%{text}<br>accuracy %{y:.2f} %<br>cost %{x:,.4~g}<extra></extra>",
    marker: {
      size: crowded ? 7 : 10,
      symbol: SYMBOLS[coupling],
      color: colour(coupling),
      line: { width: crowded ? 0 : 1, color: colour("card") },
    },
  };
}

// The best accuracy for each cost: a staircase through the points that no cheaper one reaches.
function staircase(points, axis) {
  const kept = [];
  for (const p of [...points].sort((a, b) => a.values[axis] - b.values[axis] || b.accuracy - a.accuracy)) {
    if (!kept.length || p.accuracy > kept.at(-1).accuracy) kept.push(p);
  }
  return {
    type: "scatter",
    mode: "lines",
    x: kept.map((p) => p.values[axis]),
    y: kept.map((p) => 100 * p.accuracy),
    line: { shape: "hv", width: 1.5, color: colour("muted"), dash: "dot" },
    hoverinfo: "skip",
    showlegend: false,
  };
}

function curveTraces(candidate, axis) {
  const costs = candidate?.curve?.values[axis];
  if (!costs) return [];
  const accuracy = candidate.curve.accuracy.map((share) => 100 * share);
  const last = costs.length - 1;
  const shared = { type: "scatter", showlegend: false, hoverinfo: "skip" };
  return [
    { ...shared, mode: "lines", x: costs, y: accuracy, line: { width: 2, color: colour("accent") } },
    {
      ...shared,
      mode: "markers+text",
      x: [costs[0], costs[last]],
      y: [accuracy[0], accuracy[last]],
      text: ["little only", "always big"],
      textposition: ["bottom right", "bottom left"],
      textfont: { color: colour("ink"), size: 12 },
      marker: { size: [9, 15], opacity: 1, color: colour("card"), line: { width: 2.5, color: colour("accent") } },
      cliponaxis: false,
    },
  ];
}

function layout(axis) {
  const lines = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, automargin: true };
  return {
    margin: { l: 56, r: 16, t: 8, b: 48 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), size: 13, family: "system-ui, sans-serif" },
    xaxis: { ...lines, title: { text: axisTitle(axis) }, exponentformat: "SI" },
    yaxis: { ...lines, title: { text: "Accuracy (%)" } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") }, align: "left" },
    hovermode: "closest",
    uirevision: axis,
  };
}

export function drawFront(element, { points, axis, candidate, onSelect }) {
  const shown = points.filter((p) => p.values[axis] !== undefined);
  const known = COUPLINGS.map((c) => [c, shown.filter((p) => p.coupling === c)]).filter(([, of]) => of.length);
  const traces = [staircase(shown, axis), ...curveTraces(candidate, axis), ...known.map(([c, of]) => couplingTrace(c, of, axis))];
  Plotly.react(element, traces, layout(axis), { responsive: true, displaylogo: false, displayModeBar: false });
  element.removeAllListeners?.("plotly_click");
  element.on("plotly_click", ({ points: [hit] }) => hit.customdata && onSelect(hit.customdata));
}
