import Hummingbird
import MidCore
import NIOCore
import Testing

@testable import MidServer

@Suite("Room for long answers")
struct HTTPRoomTests {
  private let memory = HTTPMemory(limit: 1 << 20, now: { .now() })

  private static let long = [
    "/v1/ids/segment?count=2000", "/v1/ids/snowflake?count=2000", "/v1/ids/uuid7?count=2000",
    "/v1/ids/uuid7?count=2000&format=base62", "/v1/ids/segment?count=2000&format=base62",
    "/tinyid/id/nextId?bizType=default&batchSize=2000", "/tinyid/id/nextIdSimple?bizType=default&batchSize=2000",
  ]

  private func door() throws -> HTTPDoor {
    try HTTPDoor(step: 1_000_000, maximumList: 10_000, memory: self.memory)
  }

  private func used(_ door: HTTPDoor) -> [Substring] {
    door.server.registry.scrape().split(separator: "\n").filter { $0.hasPrefix("id_generate_total") }
  }

  @Test(arguments: Self.long) func whereThereIsNoneALongListIsRefusedBeforeIdsAreUsed(_ path: String) async throws {
    let door = try self.door()
    let other = ObjectIdentifier(door.server)
    let room = try self.memory.reserve(1 << 20, for: other)
    let before = self.used(door)
    let answer = try await door.ask(path)
    let detail = "the server's memory for answers that are not read yet is used up; calls for fewer ids go on"
    if path.hasPrefix("/v1") {
      #expect(answer.status == 429 && answer.text.contains(#""code":"overloaded","detail":"\#(detail)""#))
    } else if path.contains("Simple") {
      #expect(answer.status == 200 && answer.text.isEmpty)
    } else {
      #expect(answer.status == 200 && answer.text == #"{"data":null,"code":6,"message":"\#(detail)"}"#)
    }
    #expect(self.used(door) == before)
    // What is short needs none.
    let short = try await door.ask(path.replacing("2000", with: "20"))
    #expect(short.status == 200 && !short.text.contains("used up") && !short.text.isEmpty)
    #expect(self.memory.total == 1 << 20)
    room?.giveBack()
    let again = try await door.ask(path)
    #expect(again.status == 200 && again.text.utf8.count > 6_000)
    #expect(self.memory.total == 0)
  }

  @Test(arguments: Self.long) func anAnswerIsCountedByItsSizeUntilNobodyHasIt(_ path: String) async throws {
    let door = try self.door()
    let response = try await door.respond(path, method: .get, body: "", headers: [:])
    withExtendedLifetime(response) { #expect(self.memory.total == response.body.contentLength) }
    // Handed on, it is its connection's.
    let collector = HTTPDoor.Collector()
    try await response.body.write(collector)
    #expect(self.memory.total == 0 && collector.bytes.readableBytes == response.body.contentLength)
    let lost = try await door.respond(path, method: .head, body: "", headers: [:])
    #expect(lost.body.contentLength == 0 && self.memory.total == 0)
  }
}
