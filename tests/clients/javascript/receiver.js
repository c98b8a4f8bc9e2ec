// A subscriber on a loopback port of its own: it keeps what arrives until it is asked for, and answers with `status`.

const http = require("node:http");

const PATIENCE = 60_000;

class Receiver {
  status = 200;
  #requests = [];
  #waiting = [];

  async start() {
    this.server = http.createServer((request, response) => this.#receive(request, response));
    await new Promise((listening) => this.server.listen(0, "127.0.0.1", listening));
    this.url = `http://127.0.0.1:${this.server.address().port}/hook`;
    return this;
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }

  async #receive(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const received = { headers: request.headers, body: Buffer.concat(chunks).toString("utf8") };
    const waiting = this.#waiting.shift();
    if (waiting) waiting(received);
    else this.#requests.push(received);
    response.writeHead(this.status).end("received");
  }

  next() {
    if (this.#requests.length > 0) return Promise.resolve(this.#requests.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("waited in vain for a delivery")), PATIENCE);
      this.#waiting.push((received) => {
        clearTimeout(timer);
        resolve(received);
      });
    });
  }

  forget() {
    this.#requests = [];
  }
}

module.exports = { Receiver };
