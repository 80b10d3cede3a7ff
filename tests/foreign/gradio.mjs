// What Gradio's JavaScript client is promised and given: gradio.mjs ADDRESS SOUND FIELDS
import fs from "fs";
import { Client } from "@gradio/client";

const [address, sound, fields] = process.argv.slice(2);
const client = await Client.connect(address);
const info = await client.view_api();
const before = new Blob([fs.readFileSync(sound)], { type: "audio/wav" });
const made = await client.predict("/tone", { ...JSON.parse(fields), before });
const promised = info.named_endpoints["/tone"].returns.map(one => one.python_type.type);
process.stdout.write(JSON.stringify([promised, made.data]) + "\n", () => process.exit(0));
