// Asks the service. What it refuses becomes a Problem, in its own words.

const PATIENCE_MS = 5000; // for what is answered at once by a service that is well
let token = sessionStorage.getItem("token") ?? "";

export class Problem extends Error {
  constructor(content) {
    super(content.detail ?? content.title ?? "the service gave no reason");
    Object.assign(this, content);
  }
}

export function currentToken() { return token; }

export function useToken(value) {
  token = value.trim();
  if (token) sessionStorage.setItem("token", token); else sessionStorage.removeItem("token");
}

// Ends the wait for a service that does not answer.
export function patience() { return AbortSignal.timeout(PATIENCE_MS); }

export async function ask(path, { method = "GET", body, signal } = {}) {
  const unsayable = /[^\x20-\xff]/u.exec(token);
  if (unsayable) throw new Problem({ code: "unauthenticated", detail: `The token holds “${unsayable[0]}”, which cannot be sent: copy it again.` });
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  const response = await reached(path, { method, headers, body, signal });
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204) return null;
  return response.headers.get("content-type")?.startsWith("application/json") ? response.json() : response.text();
}

// Whether plans can be asked for: 503 is an answer here, not a problem.
export async function readiness() {
  const response = await reached("/readyz", { signal: patience() });
  return { ready: response.ok, reason: (await response.text()).trim() };
}

// A file of the console's own.
export async function fileAt(path) {
  const response = await reached(path, {});
  if (!response.ok) throw await problemOf(response);
  const blob = await response.blob();
  return new File([blob], path.split("/").at(-1), { type: blob.type });
}

async function reached(path, options) {
  try {
    return await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Problem({ code: "timeout", detail: `The service has not answered for ${PATIENCE_MS / 1000} s.` });
    throw new Problem({ code: "unreachable", title: "No answer", detail: "The service cannot be reached. Is it running?" });
  }
}

async function problemOf(response) {
  const text = await response.text();
  try {
    return new Problem(JSON.parse(text));
  } catch {
    return new Problem({ code: `http_${response.status}`, title: response.statusText, detail: text.slice(0, 300) });
  }
}
