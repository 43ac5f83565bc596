import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type ChannelOptions, Client, credentials, Metadata } from "@grpc/grpc-js";
import { bearer } from "./fixture.ts";

type Streaming = ReturnType<Client["makeBidiStreamRequest"]>;

/** What a client needs for TLS, as PEM: whom it trusts, and who it is. */
export interface ClientTls {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** A client on Google's own gRPC implementation, with the messages of gen/. */
export function grpcClient(url: string, options: ChannelOptions = {}, tls?: ClientTls) {
  const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
  const how = tls ? credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert)) : credentials.createInsecure();
  const client = new Client(new URL(url).host, how, options);
  const serialize = (method: DescMethod) => (message: MessageShape<DescMethod["input"]>) =>
    Buffer.from(toBinary(method.input, message));
  const deserialize = (method: DescMethod) => (bytes: Buffer) => fromBinary(method.output, bytes);
  return {
    close: () => client.close(),
    unary<M extends DescMethod>(
      method: M,
      request: MessageInitShape<M["input"]>,
      metadata: Record<string, string> = bearer,
    ): Promise<{ message: MessageShape<M["output"]>; metadata: Metadata }> {
      return new Promise((resolve, reject) => {
        let got: Metadata | undefined;
        client
          .makeUnaryRequest(
            pathOf(method),
            serialize(method),
            deserialize(method),
            create(method.input, request as never),
            metadataOf(metadata),
            (error, message) =>
              error
                ? reject(error)
                : resolve({ message: message as MessageShape<M["output"]>, metadata: got ?? new Metadata() }),
          )
          .on("metadata", (metadata) => {
            got = metadata;
          });
      });
    },
    serverStream<M extends DescMethod>(
      method: M,
      request: MessageInitShape<M["input"]>,
      metadata: Record<string, string> = bearer,
    ) {
      return client.makeServerStreamRequest(
        pathOf(method),
        serialize(method),
        deserialize(method),
        create(method.input, request as never),
        metadataOf(metadata),
      ) as AsyncIterable<MessageShape<M["output"]>> & Streaming;
    },
    bidi<M extends DescMethod>(method: M, metadata: Record<string, string> = bearer) {
      return client.makeBidiStreamRequest(
        pathOf(method),
        serialize(method),
        deserialize(method),
        metadataOf(metadata),
      ) as AsyncIterable<MessageShape<M["output"]>> & Streaming;
    },
  };
}

function pathOf(method: { parent: DescService; name: string }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function metadataOf(values: Record<string, string>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(values)) metadata.set(name, value);
  return metadata;
}
