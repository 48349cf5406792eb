import MidRPC
import NIOHPACK

/// Reads a call's end from header blocks. Source: gRPC's `PROTOCOL-HTTP2.md`, "Responses", and `http-grpc-status-mapping.md`.
enum GRPCStatusHeaders {
  /// The status in trailers (or in headers that end the stream), or nil where they have none that can be read.
  static func status(in headers: HPACKHeaders) -> RPCStatus? {
    guard let text = headers.first(name: "grpc-status"), let number = UInt8(text) else { return nil }
    let message = self.percentDecoded(headers.first(name: "grpc-message") ?? "")
    guard let code = RPCStatus.Code(rawValue: number) else {
      return RPCStatus(.unknown, "status \(number), which gRPC does not know: \(message)")
    }
    return RPCStatus(code, message)
  }

  /// What an answer with a `:status` other than 200 and no status of gRPC's own means.
  static func status(forHTTP status: String) -> RPCStatus {
    let code: RPCStatus.Code =
      switch status {
      case "400": .internalError
      case "401": .unauthenticated
      case "403": .permissionDenied
      case "404": .unimplemented
      case "429", "502", "503", "504": .unavailable
      default: .unknown
      }
    return RPCStatus(code, "the answer has HTTP status \(status); is this a gRPC server's port?")
  }

  /// Replaces each `%XX` by its byte. What is no such thing stays as it is, and bytes that are not UTF-8 are replaced:
  /// a broken message is still worth showing.
  static func percentDecoded(_ text: String) -> String {
    guard text.utf8.contains(0x25) else { return text }
    let bytes = Array(text.utf8)
    var decoded: [UInt8] = []
    decoded.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      if bytes[index] == 0x25, index + 2 < bytes.count, let high = self.digit(bytes[index + 1]),
        let low = self.digit(bytes[index + 2])
      {
        decoded.append(high << 4 | low)
        index += 3
      } else {
        decoded.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: decoded, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }
}
