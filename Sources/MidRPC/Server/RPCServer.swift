public import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A gRPC server over HTTP/2, with or without TLS, for methods with one reply for each message.
///
/// Calls are served on the event loops, one synchronous call each; what can't be answered at once is answered later,
/// in any order. All replies that one read of a connection brings about leave in one write.
public final class RPCServer: Sendable {
  private let group: any EventLoopGroup
  private let methods: [RPCMethod]
  private let routes: RPCRoutes
  private let limits: RPCLimits
  private let timeouts: RPCTimeouts
  private let observer: (any RPCObserver)?
  private let connections: ConnectionRegistry
  private let memory: RPCMemory
  private let listener = Mutex<(any Channel)?>(nil)

  /// Creates a server; ``start(host:port:tls:)`` makes it listen.
  ///
  /// - Parameters:
  ///   - methods: what it serves. Paths must differ.
  ///   - group: the event loops; connections are spread over them. Stays the caller's to shut down.
  ///   - maxConnections: how many connections may be open at once; one more is closed as soon as it is accepted.
  ///   - maxHandshakes: how many TLS handshakes may be under way at once, as each takes memory and time of its own; a
  ///     connection more is closed as soon as it is accepted.
  ///   - maxMemory: bytes that all connections together may hold of requests and responses that can't move on. Beyond
  ///     it, connections that hold more than their share are ended.
  ///   - limits: what one connection may ask for.
  ///   - timeouts: how long the server waits for its peers.
  ///   - observer: is told of connections and answered calls.
  public init(
    methods: [RPCMethod], group: any EventLoopGroup, maxConnections: Int = 10_000, maxHandshakes: Int = 1000,
    maxMemory: Int = 256 * 1024 * 1024, limits: RPCLimits = RPCLimits(), timeouts: RPCTimeouts = RPCTimeouts(),
    observer: (any RPCObserver)? = nil
  ) {
    self.group = group
    self.methods = methods
    self.routes = RPCRoutes(methods)
    self.limits = limits
    self.timeouts = timeouts
    self.observer = observer
    self.connections = ConnectionRegistry(limit: maxConnections, handshakes: maxHandshakes)
    self.memory = RPCMemory(limit: maxMemory, connections: maxConnections)
  }

  /// Listens.
  ///
  /// - Parameters:
  ///   - host: a name or an address. The first address that the name resolves to is used.
  ///   - port: 0 to 65535; 0 takes a free one.
  ///   - tls: the certificate and what is asked of clients, or nil to serve without TLS.
  /// - Returns: The address that was bound.
  /// - Throws: NIO's error where the address is in use, not ours, or can't be resolved.
  public func start(host: String, port: Int, tls: RPCTLSContext? = nil) async throws -> SocketAddress {
    let bootstrap = ServerBootstrap(group: self.group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.allowRemoteHalfClosure, value: false)
      .childChannelInitializer { channel in
        switch self.connections.add(channel, hasHandshake: tls != nil) {
        case .taken: break
        case .full(let reason):
          self.observer?.connectionEnded(by: reason)
          return channel.close()
        // Accepted before the listener closed; none of its calls was taken.
        case .stopping: return channel.close()
        }
        return channel.eventLoop.makeCompletedFuture {
          let handler = RPCConnectionHandler(
            methods: self.methods, routes: self.routes, limits: self.limits, timeouts: self.timeouts,
            memory: self.memory, observer: self.observer, eventLoop: channel.eventLoop)
          let pipeline = channel.pipeline.syncOperations
          if let tls {
            try pipeline.addHandler(NIOSSLServerHandler(context: tls.current))
            try pipeline.addHandler(
              TLSGate(
                handler: handler, timeouts: self.timeouts, observer: self.observer,
                handshakes: self.connections.handshakes))
          } else {
            try pipeline.addHandler(handler)
          }
        }
      }
    let channel = try await bootstrap.bind(host: host, port: port).get()
    self.listener.withLock { $0 = channel }
    guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
    return address
  }

  /// Bytes that the connections hold together of requests and responses that can't move on.
  public var heldMemory: Int { self.memory.total }

  /// How many connections are open.
  public var openConnections: Int { self.connections.count }

  /// Stops listening, asks every connection to end, and waits until all have answered what they were asked before.
  ///
  /// - Parameter grace: how long that may take; connections that are still open then are closed.
  public func stop(grace: TimeAmount) async {
    let listener = self.listener.withLock { listener in
      defer { listener = nil }
      return listener
    }
    if let listener { _ = await listener.close().asResult() }
    for channel in self.connections.stop() {
      channel.pipeline.fireUserInboundEventTriggered(RPCConnectionHandler.DrainEvent())
    }
    let timer = self.group.any().scheduleTask(in: grace) {
      for channel in self.connections.all { channel.close(promise: nil) }
    }
    await self.connections.waitUntilEmpty()
    timer.cancel()
  }
}

extension EventLoopFuture where Value: Sendable {
  /// The future's outcome, whichever it is.
  fileprivate func asResult() async -> Result<Value, any Error> {
    do { return .success(try await self.get()) } catch { return .failure(error) }
  }
}

/// The open connections of a server.
final class ConnectionRegistry: Sendable {
  private struct State {
    var channels: [ObjectIdentifier: any Channel] = [:]
    var isStopping = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let limit: Int
  private let handshakeLimit: Int
  private let state = Mutex(State())
  /// How many TLS handshakes are under way.
  let handshakes = HandshakeCount()

  init(limit: Int, handshakes: Int) {
    self.limit = limit
    self.handshakeLimit = handshakes
  }

  var count: Int { self.state.withLock { $0.channels.count } }

  var all: [any Channel] { self.state.withLock { Array($0.channels.values) } }

  /// What became of a connection that was accepted.
  enum Admission: Equatable {
    case taken
    case full(RPCConnectionEnd)
    case stopping
  }

  /// Takes a connection in until it closes, where there is room and the server goes on.
  ///
  /// - Parameter hasHandshake: whether a TLS handshake comes first. With several event loops a few more than the limit may
  ///   be let in at the same moment.
  func add(_ channel: any Channel, hasHandshake: Bool) -> Admission {
    let admission: Admission = self.state.withLock { state in
      if state.isStopping { return .stopping }
      guard state.channels.count < self.limit else { return .full(.connectionLimit) }
      guard !hasHandshake || self.handshakes.value < self.handshakeLimit else { return .full(.handshakeLimit) }
      state.channels[ObjectIdentifier(channel)] = channel
      return .taken
    }
    if admission == .taken { channel.closeFuture.whenComplete { _ in self.remove(channel) } }
    return admission
  }

  /// Takes no more connections in, and tells those that there are: each is either among them or was not taken in.
  func stop() -> [any Channel] {
    self.state.withLock { state in
      state.isStopping = true
      return Array(state.channels.values)
    }
  }

  private func remove(_ channel: any Channel) {
    let waiters: [CheckedContinuation<Void, Never>] = self.state.withLock { state in
      state.channels[ObjectIdentifier(channel)] = nil
      guard state.channels.isEmpty else { return [] }
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  func waitUntilEmpty() async {
    await withCheckedContinuation { continuation in
      let isEmpty = self.state.withLock { state in
        guard !state.channels.isEmpty else { return true }
        state.waiters.append(continuation)
        return false
      }
      if isEmpty { continuation.resume() }
    }
  }
}

/// How many TLS handshakes are under way.
final class HandshakeCount: Sendable {
  private let count = Atomic<Int>(0)

  var value: Int { self.count.load(ordering: .relaxed) }
  func begin() { self.count.add(1, ordering: .relaxed) }
  func end() { self.count.subtract(1, ordering: .relaxed) }
}
