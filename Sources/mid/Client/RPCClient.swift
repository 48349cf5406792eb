import MidRPC
import MidServer
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A small gRPC client for unary calls: one connection, no retries, no name resolution beyond the system's.
///
/// For the commands of this program. It may be used from many tasks at once; each call is one HTTP/2 stream.
struct RPCClient: Sendable {
  /// The largest answer taken by default, in bytes. A batch of a million ids is a few ranges, so far below this.
  static let defaultMaximumMessageLength = 4 * 1024 * 1024

  private typealias Multiplexer = NIOHTTP2Handler.AsyncStreamMultiplexer<Void>

  private let address: HostPort
  private let tls: SecuredClient?
  private let channel: any Channel
  private let multiplexer: Multiplexer
  private let goAway: GoAwayReason
  private let maximumMessageLength: Int

  /// Connects to `address` within `timeout`; with TLS, its handshake has as long again.
  ///
  /// - Parameter tls: whom to trust, or nil for a connection without TLS.
  /// - Throws: `UNAVAILABLE` with the reason and what to do, `INVALID_ARGUMENT` where a file of TLS is of no use.
  static func connect(
    to address: HostPort, tls: ClientTLS? = nil, timeout: Duration,
    maximumMessageLength: Int = defaultMaximumMessageLength
  ) async throws(RPCStatus) -> RPCClient {
    let goAway = GoAwayReason()
    let secured = try tls.map { tls throws(RPCStatus) in try SecuredClient(tls, host: address.host) }
    do {
      let (channel, multiplexer, handshake) = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connectTimeout(TimeAmount(timeout))
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .connect(host: address.host, port: address.port) { channel in
          channel.eventLoop.makeCompletedFuture {
            let handshake = try secured?.secure(channel, timeout: TimeAmount(timeout))
            let multiplexer = try channel.pipeline.syncOperations.configureAsyncHTTP2Pipeline(mode: .client) { stream in
              // A server may not open streams to us; push is off.
              stream.close()
            }
            try channel.pipeline.syncOperations.addHandler(GoAwayHandler(goAway))
            return (channel, multiplexer, handshake)
          }
        }
      try await handshake?.get()
      return RPCClient(
        address: address, tls: secured, channel: channel, multiplexer: multiplexer, goAway: goAway,
        maximumMessageLength: maximumMessageLength)
    } catch {
      throw RPCStatus(.unavailable, "can't connect to \(address): \(Self.reason(error))")
    }
  }

  /// Makes one call and returns the answer's message.
  ///
  /// - Parameters:
  ///   - path: Service and method, such as `/pb.IDMaker/MakeIDService`.
  ///   - message: The request's bytes.
  ///   - timeout: How long to wait for the whole answer. The server is told as well.
  /// - Throws: The server's status, or one of the client's own: `DEADLINE_EXCEEDED`; `UNAVAILABLE` where the connection
  ///   broke; `INTERNAL`, `UNKNOWN`, `UNIMPLEMENTED` and others where the answer is not gRPC's.
  func unary(path: String, message: [UInt8], timeout: Duration) async throws(RPCStatus) -> [UInt8] {
    let headers: HPACKHeaders = [
      ":method": "POST", ":scheme": self.tls == nil ? "http" : "https", ":path": path, ":authority": self.authority,
      "te": "trailers", "content-type": "application/grpc", "user-agent": "mid/\(MidVersion.current)",
      "grpc-timeout": GRPCTimeoutHeader.text(timeout),
    ]
    let maximumMessageLength = self.maximumMessageLength
    do {
      let answer = try await self.multiplexer.openStream { stream in
        stream.eventLoop.makeCompletedFuture {
          let promise = stream.eventLoop.makePromise(of: [UInt8].self)
          do {
            try stream.pipeline.syncOperations.addHandler(
              UnaryCallHandler(
                headers: headers, message: message, timeout: TimeAmount(timeout),
                maximumMessageLength: maximumMessageLength, promise: promise))
          } catch {
            promise.fail(error)
          }
          return promise.futureResult
        }
      }
      return try await answer.get()
    } catch let status as RPCStatus {
      guard [.unavailable, .cancelled].contains(status.code) else { throw status }
      guard let reason = self.goAway.value else {
        throw RPCStatus(status.code, status.message + self.hint(status.message))
      }
      throw RPCStatus(.unavailable, "\(self.address) ended the connection: \(reason)\(self.hint(reason))")
    } catch {
      let reason = self.goAway.value ?? "\(error)"
      throw RPCStatus(.unavailable, "the connection to \(self.address) is closed: \(reason)\(self.hint(reason))")
    }
  }

  /// What may be wrong where the server hangs up without a word, unless the reason says so.
  private func hint(_ reason: String) -> String {
    self.tls == nil && !self.goAway.hasHeard && !reason.contains("--tls") ? "; does the server want TLS (--tls)?" : ""
  }

  /// Whom the calls are for: the name that the certificate was checked against, where one was given.
  private var authority: String {
    guard let name = self.tls?.serverName else { return self.address.description }
    return HostPort(host: name, port: self.address.port).description
  }

  /// Closes the connection. Calls under way fail.
  func close() async {
    do {
      try await self.channel.close()
    } catch {
      // It was closed already, by the server or after an error; that is all that was wanted.
    }
  }

  /// Why a connection could not be made, in the system's words.
  static func reason(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError:
      if let single = error.connectionErrors.first { return self.reason(single.error) }
      return "the name \(error.host) can't be resolved; look at --server"
    case let status as RPCStatus: return status.message
    case let error as IOError: return "\(String(cString: strerror(error.errnoCode))); is `mid serve` running there?"
    case ChannelError.connectTimeout(let amount):
      return "no connection within \(amount.text); is `mid serve` running there, and no firewall between?"
    default: return ClientTLSError.reason(error, name: "the server") ?? "\(error)"
    }
  }
}

/// The `grpc-timeout` header: at most 8 digits and a unit.
enum GRPCTimeoutHeader {
  /// The header's text for a timeout, rounded up, never 0.
  static func text(_ timeout: Duration) -> String {
    let (seconds, attoseconds) = timeout.components
    guard seconds < 99_999 else { return "\(min(seconds, 99_999_999))S" }
    let milliseconds = seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    return "\(max(milliseconds, 1))m"
  }
}
