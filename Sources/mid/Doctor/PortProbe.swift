import MidRPC
import MidServer
import NIOCore
import NIOPosix

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Looks who has an address that the server would listen on.
struct PortProbe: Sendable {
  /// `grpc`, `http`, `http.tinyid` or `metrics`.
  let purpose: String
  let address: HostPort
  /// How long each step of asking may take.
  let timeout: Duration

  private enum Binding {
    case free
    case inUse
    case unusable(ListenError)
  }

  /// Looks, and lets `whoever` has the address be asked.
  func look(_ whoever: (HostPort) async -> PortCheck.Look) async -> PortCheck.Look {
    do {
      // The system's resolver blocks.
      switch try await NIOThreadPool.singleton.runIfActive({ self.bind() }) {
      case .free: return .free
      case .inUse: return await whoever(self.reachable)
      case .unusable(let error): return .unusable(error.description)
      }
    } catch {
      return .unusable("\(self.purpose) address \(self.address) was not looked at: \(error)")
    }
  }

  /// Binds the address for a moment, as the server would, and without listening: nobody can connect to it, and a server
  /// that starts right now is not in the way.
  private func bind() -> Binding {
    func failure(_ code: Int32) -> Binding {
      code == EADDRINUSE
        ? .inUse : .unusable(ListenError(purpose: self.purpose, address: self.address, errno: code))
    }
    let socketAddress: SocketAddress
    do {
      socketAddress = try SocketAddress.makeAddressResolvingHost(self.address.host, port: self.address.port)
    } catch {
      return .unusable(
        ListenError(purpose: self.purpose, address: self.address, reason: "is no address of this machine: \(error)"))
    }
    #if canImport(Darwin) || canImport(Musl)
      let stream = SOCK_STREAM
    #else
      let stream = Int32(SOCK_STREAM.rawValue)
    #endif
    let descriptor = socket(socketAddress.protocol.rawValue, stream, 0)
    guard descriptor >= 0 else { return failure(errno) }
    defer { close(descriptor) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    // SAFETY: the pointer is used within the closure only, with the length that came with it.
    return socketAddress.withSockAddr { address, length in
      #if canImport(Darwin)
        let result = Darwin.bind(descriptor, address, socklen_t(length))
      #elseif canImport(Musl)
        let result = Musl.bind(descriptor, address, socklen_t(length))
      #else
        let result = Glibc.bind(descriptor, address, socklen_t(length))
      #endif
      return result == 0 ? .free : failure(errno)
    }
  }

  /// Where to connect to somebody who listens on the address: all addresses of the machine means loopback too.
  private var reachable: HostPort {
    switch self.address.host {
    case "0.0.0.0": HostPort(host: "127.0.0.1", port: self.address.port)
    case "::": HostPort(host: "::1", port: self.address.port)
    default: self.address
    }
  }

  // MARK: - Asking

  /// Asks by gRPC's health check for a service that only a mid knows.
  func askGRPC(_ address: HostPort) async -> PortCheck.Look {
    do throws(RPCStatus) {
      let client = try await RPCClient.connect(to: address, timeout: self.timeout)
      let result = await self.modes(client)
      await client.close()
      return .mid(try result.get())
    } catch {
      return .other("\(error)")
    }
  }

  private func modes(_ client: RPCClient) async -> Result<String, RPCStatus> {
    do throws(RPCStatus) {
      var states: [String] = []
      for mode in [ModeArgument.snowflake, .segment] {
        let answer = try await client.unary(
          path: "/grpc.health.v1.Health/Check", message: HealthCheckRequest(service: mode.rawValue).encoded(),
          timeout: self.timeout)
        let isServing: Bool
        do {
          isServing = try HealthCheckResponse(decoding: answer).status == .serving
        } catch {
          throw RPCStatus(.internalError, "it answers what can't be read: \(error)")
        }
        states.append("\(mode.rawValue) \(isServing ? "serves" : "does not serve")")
      }
      return .success(states.joined(separator: ", "))
    } catch {
      return .failure(error)
    }
  }

  /// Asks whether a mid lives there.
  func askHTTP(_ address: HostPort) async -> PortCheck.Look {
    do {
      let answer = try await MetricsPage.text(of: "/healthz", from: address, timeout: self.timeout)
      let isMid = answer.lowercased().contains("\r\nserver: \(HTTPService.serverName)\r\n")
      return isMid ? .mid("") : .other("GET /healthz does not answer as a mid does")
    } catch {
      return .other("GET /healthz: \(RPCClient.reason(error))")
    }
  }

  /// Asks for the page of metrics, and looks for one that only a mid has.
  func askMetrics(_ address: HostPort) async -> PortCheck.Look {
    do {
      let page = try await MetricsPage.text(from: address, timeout: self.timeout)
      return page.contains("\nmid_build_info{") ? .mid("") : .other("GET /metrics does not answer as a mid does")
    } catch {
      return .other("GET /metrics: \(RPCClient.reason(error))")
    }
  }
}
