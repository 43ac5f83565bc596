import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { document } from "./openapi/document.ts";

/**
 * Writes the OpenAPI 3.1 description of the REST interface, from the protos with their comments.
 * `node tools/openapi.ts [file]`; the file is gen/openapi.json by default.
 */
const [file = "gen/openapi.json"] = process.argv.slice(2);
const image = execFileSync("buf", ["build", "--as-file-descriptor-set", "-o", "-"], { maxBuffer: 64 * 1024 * 1024 });
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const { version } = (await import("../package.json", { with: { type: "json" } })).default;
writeFileSync(file, `${JSON.stringify(document(registry, version), null, 2)}\n`);
