import MidRPC
import NIOCore
import NIOHPACK
import NIOHTTP2

/// The answer to one unary call as it comes in: headers, one message, trailers. Pure: frames in, a result out.
///
/// Each event returns the call's result once it is certain, and nil while more has to come.
struct UnaryResponse: Sendable {
  /// A call's result: the message's bytes, or why there is none.
  typealias Outcome = Result<[UInt8], RPCStatus>

  /// The largest message taken, in bytes.
  let maximumMessageLength: Int
  private var sawHeaders = false
  private var body = ByteBuffer()

  /// Creates the state of a call whose request has been sent.
  init(maximumMessageLength: Int) {
    self.maximumMessageLength = maximumMessageLength
  }

  /// Takes a header block: the headers, or the trailers.
  mutating func receive(headers: HPACKHeaders, endStream: Bool) -> Outcome? {
    if !self.sawHeaders {
      let status = headers.first(name: ":status") ?? "none"
      if status.count == 3, status.hasPrefix("1"), !endStream { return nil }
      self.sawHeaders = true
      guard status == "200" else {
        return .failure(GRPCStatusHeaders.status(in: headers) ?? GRPCStatusHeaders.status(forHTTP: status))
      }
      let contentType = headers.first(name: "content-type") ?? "none"
      guard contentType.hasPrefix("application/grpc") else {
        return .failure(
          RPCStatus(.unknown, "the answer's content type is \(contentType), not gRPC's; is this a gRPC server's port?"))
      }
      guard endStream else { return nil }
    }
    guard endStream else {
      return .failure(RPCStatus(.internalError, "the server sent a second block of headers within its answer"))
    }
    return self.end(GRPCStatusHeaders.status(in: headers))
  }

  /// Takes a piece of the body.
  mutating func receive(data: ByteBuffer, endStream: Bool) -> Outcome? {
    guard self.sawHeaders else {
      return .failure(RPCStatus(.internalError, "the server sent a body before its headers"))
    }
    self.body.writeImmutableBuffer(data)
    if let flag = self.body.getInteger(at: 0, as: UInt8.self), flag != 0 {
      return .failure(
        RPCStatus(.internalError, "the server sent a compressed message, although none was asked for (flag \(flag))"))
    }
    if let length = self.body.getInteger(at: 1, as: UInt32.self) {
      guard length <= self.maximumMessageLength else {
        return .failure(
          RPCStatus(
            .resourceExhausted,
            "the answer has \(length) bytes, more than the \(self.maximumMessageLength) this client takes"))
      }
      guard self.body.readableBytes <= 5 + Int(length) else {
        return .failure(RPCStatus(.internalError, "the server sent more than one message"))
      }
    }
    return endStream ? self.end(nil) : nil
  }

  /// Takes a reset of the stream by the server.
  func reset(_ code: NIOHTTP2.HTTP2ErrorCode) -> Outcome {
    let status: RPCStatus.Code =
      switch code {
      case .refusedStream: .unavailable
      case .cancel: .cancelled
      case .enhanceYourCalm: .resourceExhausted
      case .inadequateSecurity: .permissionDenied
      default: .internalError
      }
    return .failure(RPCStatus(status, "the server reset the call (\(code))"))
  }

  /// The stream ended in order; `status` is nil where the server gave none.
  private func end(_ status: RPCStatus?) -> Outcome {
    guard let status else { return .failure(RPCStatus(.unknown, "the server ended the call without a status")) }
    guard status.code == .ok else { return .failure(status) }
    guard let length = self.body.getInteger(at: 1, as: UInt32.self),
      let message = self.body.getBytes(at: 5, length: Int(length))
    else { return .failure(RPCStatus(.internalError, "the server ended the call with OK and no whole message")) }
    return .success(message)
  }
}
