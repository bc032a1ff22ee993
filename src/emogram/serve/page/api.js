// All that is asked of the service: with the token where one is needed, and errors as one kind.

import { askToken, forgetToken, token } from "./token.js";

export class ServiceError extends Error {
  constructor(code, message, retryAfter = null) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

/** Fetch, ask for a token where it is missing, and throw a `ServiceError` for every error. */
export async function ask(path, options = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...options.headers, ...headers() } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError("unreachable", "no answer");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      forgetToken();
      await askToken();
      continue;
    }
    throw await problemOf(response);
  }
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  try {
    const { code, message } = await response.json();
    return new ServiceError(code, message, retryAfter);
  } catch {
    return new ServiceError("internal", `the service answered ${response.status}`);
  }
}

export const getJson = async (path, options) => (await ask(path, options)).json();
export const getBlob = async (path, options) => (await ask(path, options)).blob();

/** Send a recording as a job; `told` hears the share that is sent. Aborts with `signal`. */
export async function sendJob(file, fields, told, signal) {
  if (!token()) await getJson("/v1/models"); // asks for a token before megabytes are on their way
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much is sent
    request.open("POST", "/v1/jobs");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && told(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 202) resolve(request.response);
      else reject(new ServiceError(request.response?.code ?? "internal", request.response?.message ?? ""));
    };
    request.onerror = () => reject(new ServiceError("unreachable", "no answer"));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Open the stream of live sound; the token goes as a subprotocol, for browsers cannot set headers there. */
export function openStream() {
  const address = new URL("/v1/stream", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address, token() ? ["emogram.v1", `bearer.${token()}`] : ["emogram.v1"]);
  socket.binaryType = "arraybuffer";
  return socket;
}

/** Wait until the service answers again. */
export async function untilBack() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    try {
      if ((await fetch("/healthz", { cache: "no-store" })).ok) return;
    } catch { /* not yet */ }
  }
}
