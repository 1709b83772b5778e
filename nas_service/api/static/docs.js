// Shows /openapi.json: every endpoint with its parameters, bodies and answers.

import { get, takeToken } from "./client.js";
import { make } from "./tables.js";

function typeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeName).filter((name) => name !== "null").join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  return schema.type === "array" ? `${typeName(schema.items)}[]` : schema.type ?? "";
}

function parameterRow(parameter) {
  const required = parameter.required ? ", required" : "";
  return make("tr", {},
    make("td", {}, make("code", { text: parameter.name })),
    make("td", { text: `${parameter.in}${required}`, className: "muted" }),
    make("td", { text: typeName(parameter.schema) }),
    make("td", { text: parameter.description ?? "" }));
}

function endpoint(path, verb, operation) {
  const rows = (operation.parameters ?? []).map(parameterRow);
  const answers = Object.entries(operation.responses).map(([status, answer]) => `${status} ${answer.description}`);
  const body = Object.entries(operation.requestBody?.content ?? {})
    .map(([media, content]) => [media, typeName(content.schema)].filter(Boolean).join(": "));
  return make("article", { className: "endpoint" },
    make("h3", {}, make("span", { text: verb.toUpperCase(), className: "verb" }), path),
    make("p", { text: operation.description ?? operation.summary ?? "" }),
    body.length ? make("p", { text: `Body: ${body.join(", ")}`, className: "muted small" }) : null,
    rows.length ? make("div", { className: "scroll" }, make("table", {}, make("tbody", {}, ...rows))) : null,
    make("p", { text: `Answers: ${answers.join(" · ")}`, className: "muted small" }));
}

if (takeToken()) {
  const about = document.getElementById("about");
  try {
    const api = await get("/openapi.json");
    document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
    about.textContent = api.info.description ?? "";
    const all = Object.entries(api.paths).flatMap(([path, verbs]) =>
      Object.entries(verbs).map(([verb, operation]) => endpoint(path, verb, operation)));
    document.getElementById("endpoints").append(...all);
  } catch (error) {
    about.textContent = error.message;
  }
}
