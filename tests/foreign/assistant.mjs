// Calls tools as an assistant does: assistant.mjs ADDRESS, on standard input [[tool, arguments], ...]; arguments may
// have {"$link": n} for the first link of the n-th answer. "stop" in the place of arguments: call it, and stop it soon.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [address] = process.argv.slice(2);
let calls = "";
for await (const part of process.stdin) calls += part;
const connect = async () => {
    const client = new Client({ name: "test", version: "1.0.0" });
    const transport = address.startsWith("http")
        ? new StreamableHTTPClientTransport(new URL(address))
        : new StdioClientTransport({ command: address.split(" ")[0], args: address.split(" ").slice(1), env: process.env });
    await client.connect(transport);
    return client;
};
const client = await connect();
const answers = [], progress = [];
const options = { timeout: 240000, onprogress: told => progress.push(told.progress) };
for (const [name, given] of JSON.parse(calls)) {
    if (given.$stop) {
        const going = client.callTool({ name, arguments: given.$stop }, undefined, options);
        const count = progress.length;
        while (progress.length === count) await new Promise(done => setTimeout(done, 50));
        answers.push(await (await connect()).callTool({ name: "stop", arguments: {} }));
        answers.push(await going);
        continue;
    }
    const filled = Object.fromEntries(Object.entries(given).map(([key, value]) =>
        [key, value?.$link === undefined ? value : answers[value.$link].structuredContent.files[0].link]));
    answers.push(await client.callTool({ name, arguments: filled }, undefined, options));
}
const { tools } = await client.listTools();
process.stdout.write(JSON.stringify({ server: client.getServerVersion(), tools, answers, progress: progress.length }) + "\n", () => process.exit(0));
