import MidRPC
import MidServer
import NIOCore
import NIOEmbedded

@testable import mid

/// One lane of a run and a server made by hand, in a world whose time only the test moves.
final class BenchWorld {
  /// A connection as the server sees it.
  final class Connection {
    let channel: EmbeddedChannel
    var reader = ClientFrameReader()
    var frames = ServerFrames()
    /// Streams whose request is whole and has no answer yet, in the order of arrival.
    var waiting: [UInt32] = []
    var resets: [UInt32] = []
    /// Streams with many requests that have had an answer, and those that the client has ended.
    var answered: Set<UInt32> = []
    var ended: [UInt32] = []
    var mostAtOnce = 0

    init(_ channel: EmbeddedChannel) { self.channel = channel }
  }

  let loop = EmbeddedEventLoop()
  let recorder: BenchRecorder
  private(set) var connections: [Connection] = []
  private(set) var isDone = false
  private var lane: BenchLane?
  /// Refuses new connections.
  var isAway = false
  /// The settings the server begins with.
  var settings: [(id: UInt16, value: UInt32)] = []
  private var lastID: Int64 = 0
  private let isStream: Bool

  init(_ plan: BenchPlan) throws {
    self.isStream = plan.isStream
    self.recorder = BenchRecorder(plan, shared: HighestID())
    let template = try RequestTemplate(
      path: plan.path, authority: "host", isSecure: false, isUnary: !plan.isStream, message: plan.message)
    self.lane = BenchLane(plan: plan, template: template, index: 0, recorder: self.recorder, eventLoop: self.loop) {
      [unowned self] lane, loop in
      if self.isAway { return loop.makeFailedFuture(ChannelError.connectTimeout(.seconds(1))) }
      return self.accept(lane)
    }
  }

  /// Milliseconds since the world began.
  var time: UInt64 { self.loop.now.uptimeNanoseconds / 1_000_000 }

  private func accept(_ lane: BenchLane) -> EventLoopFuture<Void> {
    let channel = EmbeddedChannel(handler: BenchConnectionHandler(lane: lane), loop: self.loop)
    self.connections.append(Connection(channel))
    do {
      channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
      var buffer = ByteBuffer()
      buffer.writeSettings(self.settings)
      try self.send(self.connections.count - 1, Array(buffer.readableBytesView) + ServerFrames.window(0, 1 << 30))
      return self.loop.makeSucceededVoidFuture()
    } catch {
      return self.loop.makeFailedFuture(error)
    }
  }

  /// Connects and begins the run, now.
  func begin() {
    guard let lane = self.lane else { return }
    lane.connect().whenComplete { _ in }
    self.loop.run()
    lane.done.assumeIsolated().whenComplete { _ in self.isDone = true }
    lane.begin(at: self.loop.now.uptimeNanoseconds)
  }

  /// Ends the run as Ctrl-C does.
  func stop() { self.lane?.stop() }

  /// Closes the lane; its ids.
  func end() -> IDLog? {
    self.lane?.close()
    defer { self.lane = nil }
    return self.lane?.log
  }

  /// Lets the client have bytes on a connection.
  func send(_ connection: Int, _ bytes: [UInt8]) throws {
    guard self.connections[connection].channel.isActive else { return }
    try self.connections[connection].channel.writeInbound(ByteBuffer(bytes: bytes))
  }

  /// Closes a connection under the client.
  func drop(_ connection: Int) { self.connections[connection].channel.close(promise: nil) }

  /// Reads what the client has sent.
  func read() throws {
    for connection in self.connections {
      while let bytes = try connection.channel.readOutbound(as: ByteBuffer.self) {
        for frame in try connection.reader.frames(bytes) {
          switch frame {
          case .data(let stream, [], end: true): connection.ended.append(stream)
          case .data(let stream, _, let end) where end || self.isStream: connection.waiting.append(stream)
          case .reset(let stream, _):
            connection.resets.append(stream)
            connection.waiting.removeAll { $0 == stream }
          default: break
          }
        }
        connection.mostAtOnce = max(connection.mostAtOnce, connection.waiting.count)
      }
    }
  }

  /// Answers everything that waits, the oldest first.
  func answerAll() throws {
    try self.read()
    for (index, connection) in self.connections.enumerated() {
      var bytes: [UInt8] = []
      for stream in connection.waiting {
        self.lastID += 1
        if self.isStream {
          let range = IDRangeMessage(start: self.lastID, stride: 1, count: 1)
          let reply = CannedStep.framed(GenerateBatchResponse(ranges: [range]).encoded())
          if connection.answered.insert(stream).inserted {
            bytes += try connection.frames.headers(stream, ServerFrames.opening)
          }
          bytes += ServerFrames.data(stream, reply)
        } else {
          bytes += try connection.frames.reply(stream, IDResponse(id: self.lastID).encoded())
        }
      }
      connection.waiting = []
      for stream in connection.ended {
        bytes += try connection.frames.headers(stream, [("grpc-status", "0")], end: true)
      }
      connection.ended = []
      if !bytes.isEmpty { try self.send(index, bytes) }
    }
    try self.read()
  }

  /// Moves the time by `milliseconds`, one by one; after each the server answers where `answers` says so.
  func advance(_ milliseconds: Int, while answers: (UInt64) -> Bool = { _ in true }) throws {
    for _ in 0..<milliseconds {
      self.loop.advanceTime(by: .milliseconds(1))
      try self.read()
      if answers(self.time) { try self.answerAll() }
    }
  }
}
