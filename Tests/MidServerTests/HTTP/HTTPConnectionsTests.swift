import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import MidServer

@Suite("Connections of an HTTP port")
struct HTTPConnectionsTests {
  private let start = NIODeadline.uptimeNanoseconds(0)

  private func at(_ milliseconds: Int64) -> NIODeadline { self.start + .milliseconds(milliseconds) }

  /// Who gives way at these times, one after the other.
  private func givingWay(_ book: inout HTTPConnectionBook, at times: Int64...) -> [Int?] {
    times.map { book.giveWay(at: self.at($0)) }
  }

  @Test func theLongestIdleGivesWayOnceThereIsNoRoom() {
    var book = HTTPConnectionBook(maximum: 3)
    for id in 1...3 {
      let given = self.givingWay(&book, at: 10_000)
      #expect(!book.isFull && given == [nil], "there is room")
      book.opened()
      book.becameIdle(id, at: self.at(Int64(id)))
    }
    #expect(book.isFull)
    book.becameBusy(1)
    // The first has a request. Each is named once, and the next while there is no room.
    var given = self.givingWay(&book, at: 5_000, 5_000, 5_000)
    #expect(given == [2, 3, nil])
    book.becameIdle(2, at: self.at(5_000))
    book.becameIdle(1, at: self.at(5_001))
    given = self.givingWay(&book, at: 5_999, 6_000, 6_000, 6_001)
    #expect(given == [nil, 2, nil, 1], "one that fell idle a moment ago is spared")
    book.becameIdle(1, at: self.at(7_000))
    book.closed()
    given = self.givingWay(&book, at: 60_000)
    #expect(!book.isFull && given == [nil])
  }

  @Test func connectionsThatAreAllBusyStay() {
    var book = HTTPConnectionBook(maximum: 2)
    for id in 1...2 {
      book.opened()
      book.becameIdle(id, at: self.start)
      book.becameBusy(id)
    }
    let given = self.givingWay(&book, at: 60_000)
    #expect(book.isFull && given == [nil])
  }

  /// Which of the states of a connection count as waiting: only those may be closed under it.
  @Test func aConnectionIsClosedOnlyWhileItWaitsForARequest() throws {
    let head = HTTPRequestPart.head(HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/"))
    let answer = [HTTPResponsePart.head(HTTPResponse(status: .ok)), .end(nil)]
    for (parts, answers, isIdle) in [
      ([], 0, true), ([head], 0, false), ([head, .end(nil)], 0, false), ([head, .end(nil)], 1, true),
      ([head], 1, false),
      ([head, .end(nil), head, .end(nil)], 1, false), ([head, .end(nil), head, .end(nil)], 2, true),
    ] as [([HTTPRequestPart], Int, Bool)] {
      let connections = HTTPConnections(maximum: 1)
      let handler = HTTPConnectionLimits(
        .init(maximumBody: 10, requestTimeout: .seconds(5), leastRate: 10, grace: .seconds(8)),
        connections: connections)
      let channel = EmbeddedChannel(handler: handler)
      try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
      for part in parts { try channel.writeInbound(part) }
      for _ in 0..<answers { for part in answer { channel.writeAndFlush(part, promise: nil) } }
      #expect(connections.idleCount == (isIdle ? 1 : 0), "\(parts) \(answers)")
      handler.closeIfIdle(channel)
      channel.embeddedEventLoop.run()
      #expect(channel.isActive == !isIdle, "\(parts) \(answers)")
      channel.pipeline.fireChannelInactive()
      #expect(connections.idleCount == 0)
    }
  }
}
