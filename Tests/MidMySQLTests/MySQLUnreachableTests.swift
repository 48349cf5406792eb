import Glibc
import MidCore
import Testing

@testable import MidMySQL

/// Stores whose server is not there. Needs no server.
@Suite struct MySQLUnreachableTests {
  /// A loopback port with or without somebody listening, who never answers.
  private struct Port {
    let socket: Int32
    let number: UInt16

    init(listening: Bool) throws {
      self.socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let socket = self.socket
      let failed = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(socket, $0, length) != 0
            || getsockname(socket, $0, &length) != 0
        }
      }
      try #require(!failed)
      if listening { try #require(listen(socket, 16) == 0) }
      self.number = UInt16(bigEndian: address.sin_port)
    }

    func configuration() -> MySQLConfiguration {
      MySQLConfiguration(
        host: "127.0.0.1", port: self.number, database: "mid", user: "mid", password: "hunter2",
        connectTimeout: .seconds(1), readTimeout: .seconds(1), writeTimeout: .seconds(1))
    }
  }

  @Test func `nobody listening is a store that is away, at once`() async throws {
    let port = try Port(listening: false)
    let store = MySQLStore(port.configuration())
    let start = ContinuousClock.now
    let error = await #expect(throws: IDError.self) { try await store.prepare() }
    #expect(error?.code == .storeUnavailable)
    #expect(error?.message.contains("127.0.0.1:\(port.number)/mid as user mid") == true)
    #expect(error?.message.contains("hunter2") == false)
    // Far above the timeouts and far below the minutes of a system without them: the machine may be busy with other tests.
    #expect(start.duration(to: .now) < .seconds(180))
    await store.close()
    close(port.socket)
  }

  @Test func `a server that never answers is away within the timeouts, for all callers`() async throws {
    let port = try Port(listening: true)
    let store = MySQLStore(port.configuration())
    let start = ContinuousClock.now
    let codes = await withTaskGroup(of: IDError.Code?.self) { group in
      for _ in 0..<20 {
        group.addTask {
          let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: .default) }
          return error?.code
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(codes == Array(repeating: .storeUnavailable, count: 20))
    // Far above the timeouts and far below the minutes of a system without them: the machine may be busy with other tests.
    #expect(start.duration(to: .now) < .seconds(180))
    await store.close()
    close(port.socket)
  }

  @Test func `closing fails the callers in line`() async throws {
    let port = try Port(listening: true)
    let store = MySQLStore(port.configuration())
    let callers = (0..<5).map { _ in Task { try await store.allocate(1, for: .default) } }
    await store.close()
    for caller in callers {
      let error = await #expect(throws: IDError.self) { try await caller.value }
      #expect(error?.code == .storeUnavailable)
    }
    close(port.socket)
  }
}
