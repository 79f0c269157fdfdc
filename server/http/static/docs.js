// Shows /openapi.json: every route with its words, the fields that go in and come out, and a curl line to start from.

const page = document.getElementById("page");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function resolved(api, schema) {
  return schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.filter((each) => each.type !== "null").map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  if (schema.contentEncoding) return schema.contentEncoding;
  if (schema.additionalProperties) return `{name: ${typeOf(schema.additionalProperties)}}`;
  return schema.format ?? schema.type ?? "any";
}

function fieldsOf(api, schema) {
  const properties = resolved(api, schema)?.properties;
  if (!properties) return make("p", {}, typeOf(schema));
  const rows = Object.entries(properties).map(([name, field]) =>
    make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, typeOf(field)),
      make("td", {}, field.description ?? resolved(api, field)?.description ?? "")));
  return make("table", {}, ...rows);
}

function curlOf(method, path, operation) {
  const lines = [`curl -X ${method} ${location.origin}${path}`, `  -H "Authorization: Bearer $TOKEN"`];
  const content = operation.requestBody?.content ?? {};
  const parts = content["multipart/form-data"]?.schema.properties;
  if (parts) {
    lines.push(`  -F 'request={…};type=application/json'`);
    for (const name of Object.keys(parts)) if (name !== "request") lines.push(`  -F ${name}=@${name}.jpg`);
  } else if (content["application/json"]) {
    lines.push(`  -H "Content-Type: application/json"`, `  -d '{…}'`);
  }
  return make("pre", {}, lines.join(" \\\n"));
}

function operationOf(api, method, path, operation) {
  const details = make("details", {},
    make("summary", {}, make("span", { class: "method" }, method), make("span", { class: "path" }, path),
      make("span", { class: "says" }, operation.description ?? operation.summary ?? "")),
    curlOf(method, path, operation));
  const body = operation.requestBody?.content["application/json"]?.schema;
  if (body) details.append(make("h3", {}, `Request body: ${typeOf(body)}`), fieldsOf(api, body));
  for (const [status, response] of Object.entries(operation.responses)) {
    const schema = Object.values(response.content ?? {})[0]?.schema;
    if (status === "default" || !schema) continue;
    details.append(make("h3", {}, `Response ${status}: ${typeOf(schema)}`), fieldsOf(api, schema));
  }
  return details;
}

function show(api) {
  page.replaceChildren(make("h1", {}, `${api.info.title} ${api.info.version}`));
  for (const paragraph of api.info.description.split("\n\n")) {
    page.append(make("p", {}, paragraph.replaceAll(/\*\*|`/g, "")));
  }
  page.append(make("p", {}, "The OpenAPI document: ", make("a", { href: "/openapi.json" }, "/openapi.json")));
  const tags = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "other";
      tags.set(tag, [...(tags.get(tag) ?? []), operationOf(api, method.toUpperCase(), path, operation)]);
    }
  }
  for (const [tag, operations] of tags) page.append(make("h2", {}, tag), ...operations);
  page.append(make("h2", {}, "schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    page.append(make("details", {},
      make("summary", {}, make("span", { class: "path" }, name), make("span", { class: "says" }, schema.description ?? "")),
      fieldsOf(api, schema)));
  }
}

fetch("/openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => page.replaceChildren(make("p", {}, `The document could not be loaded: ${error}`)));
