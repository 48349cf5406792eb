import Hummingbird
import MidCore
import NIOCore
import Synchronization
import Testing

@testable import MidServer

@Suite("Room for long answers", .timeLimit(.minutes(10)))
struct HTTPRoomTests {
  private let memory = HTTPMemory(limit: 1 << 20, now: { .now() })

  private static let long = [
    "/v1/ids/segment?count=2000", "/v1/ids/snowflake?count=2000", "/v1/ids/uuid7?count=2000",
    "/v1/ids/uuid7?count=2000&format=base62", "/v1/ids/segment?count=2000&format=base62",
    "/tinyid/id/nextId?bizType=default&batchSize=2000", "/tinyid/id/nextIdSimple?bizType=default&batchSize=2000",
  ]

  private func door() throws -> HTTPDoor {
    try HTTPDoor(maximumWait: .seconds(600), step: 1_000_000, maximumList: 10_000, memory: self.memory)
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

  @Test(arguments: Self.long.filter { $0.contains("segment") || $0.contains("tinyid") })
  func whoWaitsForIdsTakesNoRoomFromOthers(_ path: String) async throws {
    let door = try self.door()
    door.server.loads.withLock { $0 = .held }
    // Their answers together are longer than the limit.
    let calls = 60
    try await withThrowingTaskGroup(of: Response.self) { group in
      for _ in 0..<calls {
        group.addTask { try await door.respond(path, method: .get, body: "", headers: [:]) }
      }
      let generator = try #require(door.server.directory.defaultGenerator)
      while generator.snapshot.waiters < calls, self.memory.total == 0, !Task.isCancelled { await Task.yield() }
      #expect(self.memory.total == 0)
      #expect(try await door.ask("/v1/ids/snowflake?count=2000").status == 200)
      // They come all at once. Who has no room then says so, as the ids are gone; nobody reads the other answers.
      generator.loaded(IDRange(start: 1_000_000_000, count: Int64(calls) * 2000 + 1))
      var answers: [Response] = []
      for try await answer in group {
        answers.append(answer)
        #expect(self.memory.total <= 1 << 20)
      }
      let long = answers.filter { ($0.body.contentLength ?? 0) > HTTPMemory.few }
      #expect(long.count > 5 && long.count < calls && long.allSatisfy { $0.status == .ok })
      #expect(self.memory.total == long.reduce(0) { $0 + ($1.body.contentLength ?? 0) })
      for answer in answers where (answer.body.contentLength ?? 0) <= HTTPMemory.few {
        let collector = HTTPDoor.Collector()
        try await answer.body.write(collector)
        let text = String(buffer: collector.bytes)
        if path.hasPrefix("/v1") {
          #expect(answer.status == .tooManyRequests && text.contains(#""code":"overloaded""#))
        } else {
          #expect(answer.status == .ok && (path.contains("Simple") ? text.isEmpty : text.contains(#""code":6,"#)))
        }
      }
      #expect(self.used(door).contains("id_generate_total{mode=\"segment\"} \(calls * 2000)"))
    }
    // A task that has ended may hold its answer for a moment more.
    while self.memory.total > 0, !Task.isCancelled { await Task.yield() }
    #expect(self.memory.total == 0)
    #expect(try await door.ask(path.replacing("2000", with: "1")).status == 200)
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
