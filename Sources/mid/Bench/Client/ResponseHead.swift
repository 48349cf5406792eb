import MidRPC
import NIOHPACK

/// What a header block of a response comes to. The same block may stand at its beginning or at its end.
struct ResponseHead: Sendable {
  /// A block with `:status` 100 to 199: the real one is yet to come.
  let isInformational: Bool
  /// Why a response that begins with this block can't go well, or nil where it may.
  let refusal: RPCStatus?
  /// How the call ended where this block is the last, or nil where it does not say.
  let status: RPCStatus?

  /// Judges a decoded block. Source: gRPC's `PROTOCOL-HTTP2.md`, "Responses".
  init(_ headers: HPACKHeaders) {
    let http = headers.first(name: ":status")
    self.status = GRPCStatusHeaders.status(in: headers)
    self.isInformational = http?.count == 3 && http?.first == "1"
    let contentType = headers.first(name: "content-type") ?? "none"
    if http != "200" {
      self.refusal = self.status ?? GRPCStatusHeaders.status(forHTTP: http ?? "none")
    } else if !contentType.hasPrefix("application/grpc") {
      self.refusal = RPCStatus(
        .unknown, "the answer's content type is \(contentType), not gRPC's; is this a gRPC server's port?")
    } else {
      self.refusal = nil
    }
  }
}
