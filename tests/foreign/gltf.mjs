// The findings of the Khronos glTF Validator on a file, as JSON.
import fs from "fs";
import validator from "gltf-validator";

const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])));
console.log(JSON.stringify({ issues: report.issues, info: report.info }));
