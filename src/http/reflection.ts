import { type DescExtension, type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { type ServerReflectionRequest, ServerReflection as V1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  type ServerReflectionRequest as AlphaRequest,
  ServerReflection as V1Alpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";

// The two versions have the same messages under two names.
type Query = ServerReflectionRequest["messageRequest"] | AlphaRequest["messageRequest"];
type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/** Registers reflection v1 and v1alpha over the given services and themselves. */
export function registerReflection(router: ConnectRouter, services: readonly DescService[]): void {
  const index = new DescriptorIndex([...services, V1, V1Alpha]);
  router.service(V1, { serverReflectionInfo: (requests) => respond(index, requests) });
  router.service(V1Alpha, { serverReflectionInfo: (requests) => respond(index, requests) });
}

async function* respond<R extends { host: string; messageRequest: Query }>(
  index: DescriptorIndex,
  requests: AsyncIterable<R>,
) {
  for await (const request of requests) {
    const messageResponse = index.answer(request.messageRequest);
    yield { validHost: request.host, originalRequest: request, messageResponse };
  }
}

/** What the served services are made of, by the names that reflection asks for. */
class DescriptorIndex {
  readonly #services: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions: DescExtension[] = [];

  constructor(services: readonly DescService[]) {
    this.#services = services.map((service) => service.typeName).sort();
    for (const service of services) this.#add(service.file);
  }

  answer(request: Query): Answer {
    switch (request.case) {
      case "listServices":
        return { case: "listServicesResponse", value: { service: this.#services.map((name) => ({ name })) } };
      case "fileByFilename":
        return filesOf(this.#files.get(request.value), `file "${request.value}"`);
      case "fileContainingSymbol":
        return filesOf(this.#symbols.get(request.value.replace(/^\./, "")), `symbol "${request.value}"`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = request.value;
        const extension = this.#extensionsOf(containingType).find(({ number }) => number === extensionNumber);
        return filesOf(extension?.file, `extension ${extensionNumber} of "${containingType}"`);
      }
      case "allExtensionNumbersOfType": {
        if (!this.#symbols.has(request.value)) return notFound(`type "${request.value}"`);
        const extensionNumber = this.#extensionsOf(request.value).map(({ number }) => number);
        return {
          case: "allExtensionNumbersResponse",
          value: { baseTypeName: request.value, extensionNumber: extensionNumber.sort((a, b) => a - b) },
        };
      }
      default:
        return {
          case: "errorResponse",
          value: { errorCode: Code.InvalidArgument, errorMessage: "the request asks for nothing" },
        };
    }
  }

  #extensionsOf(typeName: string): DescExtension[] {
    return this.#extensions.filter((extension) => extension.extendee.typeName === typeName);
  }

  #add(file: DescFile): void {
    if (this.#files.has(fileName(file))) return;
    this.#files.set(fileName(file), file);
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      if (type.kind === "extension") this.#extensions.push(type);
      if (type.kind === "service")
        for (const method of type.methods) this.#symbols.set(`${type.typeName}.${method.name}`, file);
      if (type.kind === "message")
        for (const field of type.fields) this.#symbols.set(`${type.typeName}.${field.name}`, file);
      if (type.kind === "enum") {
        // Enum values stand beside their enum, not in it.
        const scope = type.typeName.slice(0, type.typeName.lastIndexOf(".") + 1);
        for (const value of type.values) this.#symbols.set(scope + value.name, file);
      }
    }
    for (const dependency of file.dependencies) this.#add(dependency);
  }
}

/** The file and all that it imports, so that a client needs one round trip. */
function filesOf(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return notFound(asked);
  const files = new Set<DescFile>();
  const add = (each: DescFile) => {
    if (files.has(each)) return;
    files.add(each);
    each.dependencies.forEach(add);
  };
  add(file);
  const fileDescriptorProto = [...files].map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function notFound(asked: string): Answer {
  return { case: "errorResponse", value: { errorCode: Code.NotFound, errorMessage: `there is no ${asked} here` } };
}

function fileName(file: DescFile): string {
  return file.proto.name;
}
