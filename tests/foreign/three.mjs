// What three.js reads of a GLB without pictures drawn: its animation, meshes and materials, as JSON.
import fs from "fs";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";

globalThis.self = globalThis;
globalThis.URL.createObjectURL = () => "blob:picture";
const file = fs.readFileSync(process.argv[2]);
const loader = new GLTFLoader();
loader.register(() => ({ name: "pictures", loadTexture: async () => null }));
const scene = await loader.parseAsync(file.buffer.slice(file.byteOffset, file.byteOffset + file.length), "");
const [clip] = scene.animations;
const skin = scene.scene.getObjectByName("skin");
console.log(JSON.stringify({
    duration: clip.duration, tracks: clip.tracks.map(track => track.name),
    targets: Object.keys(skin.morphTargetDictionary), normals: !!skin.geometry.attributes.normal,
    uvs: !!skin.geometry.attributes.uv, nodes: scene.scene.children[0].children[0].children.map(one => one.name),
}));
