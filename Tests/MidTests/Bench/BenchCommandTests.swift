import ArgumentParser
import Foundation
import MidRPC
import MidServer
import NIOCore
import NIOHPACK
import Synchronization
import Testing

@testable import mid

@Suite("mid bench")
struct BenchCommandTests {
  /// Answers with the next id of one counter for all connections; `twist` may change it.
  private final class Counter: Sendable {
    private let last = Mutex<Int64>(0)
    private let twist: @Sendable (Int64) -> Int64

    init(_ twist: @escaping @Sendable (Int64) -> Int64 = { $0 }) { self.twist = twist }

    func take(_ count: Int64 = 1) -> Int64 {
      self.twist(
        self.last.withLock {
          $0 += count
          return $0
        })
    }

    /// Begins again, as a server that has lost what it gave out.
    func forget() { self.last.withLock { $0 = 0 } }

    func answer(_ request: CannedRequest) -> [CannedStep] {
      do {
        switch request.headers.first(name: ":path") {
        case "/mid.v1.IDService/GenerateBatch":
          let count = try GenerateBatchRequest(decoding: request.message).count
          let last = self.take(Int64(count))
          let range = IDRangeMessage(start: last - Int64(count) + 1, stride: 1, count: count)
          return CannedStep.reply(GenerateBatchResponse(ranges: [range]).encoded())
        case "/mid.v1.IDService/GenerateID":
          let call = try GenerateIDRequest(decoding: request.message)
          if call.tag == "nope" { return CannedStep.failure("5", "there is no tag nope") }
          return CannedStep.reply(GenerateIDResponse(id: self.take()).encoded())
        case "/pb.IDMaker/MakeIDService": return CannedStep.reply(IDResponse(id: self.take()).encoded())
        default: return CannedStep.failure("12", "")
        }
      } catch {
        return CannedStep.failure("3", "\(error)")
      }
    }
  }

  private func bench(
    _ counter: Counter, _ arguments: String...
  ) async throws -> (text: String, error: (any Error)?, requests: [CannedRequest]) {
    try await CannedServer.run {
      counter.answer($0)
    } while: { server in
      let command = try BenchCommand.parse(["--server", "127.0.0.1:\(server.port)", "--timeout", "20"] + arguments)
      let (text, error) = try await captured { try await command.run(into: &$0) }
      return (text, error, server.requests)
    }
  }

  private func exitCode(_ error: (any Error)?) -> Int32? { error.map { BenchCommand.exitCode(for: $0).rawValue } }

  @Test func `calls as many times as it is told, over all connections, and tells`() async throws {
    let result = try await self.bench(Counter(), "-c", "3", "-m", "4", "-n", "200")
    #expect(result.error == nil)
    #expect(result.text.contains("3 connections × 4 in flight"))
    #expect(result.text.contains("ids          200, all positive, distinct, in order\n"))
    #expect(result.requests.count == 200)
    let request = try #require(result.requests.first)
    #expect(request.headers.first(name: ":path") == "/pb.IDMaker/MakeIDService")
    #expect(try IDRequest(decoding: request.message) == IDRequest(mode: "snowflake"))
  }

  @Test func `a duplicate is found, named, and ends with 1`() async throws {
    let result = try await self.bench(Counter { $0 == 150 ? 70 : $0 }, "-c", "2", "-m", "2", "-n", "200")
    #expect(self.exitCode(result.error) == 1)
    #expect(result.text.contains("TWICE: 1, such as 70"))
    #expect(result.text.contains("OUT OF ORDER: 1, such as 70 after"))
  }

  @Test func `id 0 as an answer is found`() async throws {
    let result = try await self.bench(Counter { $0 == 20 ? 0 : $0 }, "-c", "1", "-m", "1", "-n", "30", "--check", "off")
    #expect(self.exitCode(result.error) == 1)
    #expect(result.text.contains("NOT POSITIVE: 1, such as 0"))
  }

  @Test func `batches are asked for and checked as ranges`() async throws {
    let result = try await self.bench(Counter(), "-c", "2", "-m", "2", "-n", "50", "--batch", "100", "--tag", "orders")
    #expect(result.error == nil)
    #expect(result.text.contains("5,000, all positive, distinct, in order"))
    let request = try #require(result.requests.first)
    let wanted = GenerateBatchRequest(mode: "segment", tag: "orders", count: 100)
    #expect(try GenerateBatchRequest(decoding: request.message) == wanted)
  }

  @Test func `calls that fail are counted by code and end with 1`() async throws {
    let result = try await self.bench(Counter(), "-c", "1", "-m", "2", "-n", "10", "--tag", "nope", "--json")
    #expect(self.exitCode(result.error) == 1)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(result.text.utf8)) as? [String: Any])
    #expect(object["errors_by_code"] as? [String: Int] == ["NOT_FOUND": 10])
    #expect(object["error_messages"] as? [String: String] == ["NOT_FOUND": "there is no tag nope"])
    #expect(object["calls"] as? Int == 0)
  }

  @Test func `with a rate it makes the calls that are due`() async throws {
    let result = try await self.bench(Counter(), "-c", "2", "-n", "40", "--rate", "400", "--json")
    #expect(result.error == nil)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(result.text.utf8)) as? [String: Any])
    #expect(object["calls"] as? Int == 40)
    // The last one is due after 97.5 ms.
    #expect(try #require(object["seconds"] as? Double) >= 0.0975)
  }

  @Test func `the table has both modes and four levels`() async throws {
    let result = try await self.bench(Counter(), "--table", "--duration", "0.05")
    #expect(result.error == nil)
    let lines = result.text.split(separator: "\n")
    #expect(lines.count == 10)
    #expect(
      lines.dropFirst(2).map { $0.prefix(16) }
        == [
          "Snowflake | 10  ", "Snowflake | 50  ", "Snowflake | 100 ", "Snowflake | 200 ", "Segment   | 10  ",
          "Segment   | 50  ", "Segment   | 100 ", "Segment   | 200 ",
        ].map { "| \($0)".prefix(16) })
  }

  @Test func `an id that an earlier run of the table was given is found, and is out of order`() async throws {
    let counter = Counter()
    let results = try await CannedServer.run {
      counter.answer($0)
    } while: { server in
      var plan = BenchPlan()
      plan.connections = 1
      plan.inFlight = 4
      plan.length = .calls(50)
      plan.timeout = .seconds(20)
      let address = HostPort(host: "127.0.0.1", port: server.port)
      let dialer = try BenchDialer(server: address, tls: nil, timeout: .seconds(20))
      var history = IDHistory()
      var results: [BenchResult] = []
      for _ in 0..<2 {
        let run = BenchRun(plan: plan, dialer: dialer, threads: 1)
        let progress = BenchProgress(isOn: false)
        results.append(
          try await run.run(history: &history, interruption: BenchInterruption(), progress: progress))
        counter.forget()
      }
      return results
    }
    #expect(results[0].isGood)
    #expect(results[1].duplicates == 50)
    #expect(results[1].broken.outOfOrder == 50)
    #expect(!results[1].isGood)
  }

  @Test func `nobody listening is one line with advice`() async throws {
    let port = try await CannedServer.run { _ in
      []
    } while: {
      $0.port
    }
    let command = try BenchCommand.parse(["--server", "127.0.0.1:\(port)"])
    let (text, error) = try await captured { try await command.run(into: &$0) }
    #expect(text.isEmpty)
    #expect(
      (error as? CommandFailure)?.description
        == "UNAVAILABLE: can't connect to 127.0.0.1:\(port): Connection refused; is `mid serve` running there?")
  }

  @Test func `a signal ends the run early; one that came before it as well`() throws {
    let interruption = BenchInterruption()
    let calls = Mutex(0)
    interruption.onInterrupt { calls.withLock { $0 += 1 } }
    #expect(!interruption.isInterrupted)
    interruption.interrupt()
    #expect(interruption.isInterrupted)
    #expect(calls.withLock { $0 } == 1)
    interruption.onInterrupt { calls.withLock { $0 += 10 } }
    #expect(calls.withLock { $0 } == 11)
  }

  @Test(arguments: [
    ["--mode", "uuid"], ["--mode", "snowflake", "--tag", "a"], ["--tag", " a"], ["-c", "0"], ["-c", "10001"],
    ["-m", "0"], ["-c", "1000", "-m", "1001"], ["--batch", "0"], ["--batch", "1000001"], ["--stream"],
    ["--method", "pb", "--batch", "5"], ["--method", "pb", "--tag", "a"], ["--method", "v2"],
    ["--duration", "1", "-n", "5"], ["--duration", "0"], ["--duration", "nan"], ["-n", "0"], ["--rate", "0"],
    ["--rate", "inf"], ["--timeout", "0"], ["--check", "some"], ["--check-memory", "0"], ["--threads", "0"],
    ["--server", "host:port"], ["--server", "127.0.0.1:0"], ["extra"], ["--table", "-c", "2"],
    ["--table", "--mode", "segment"], ["--table", "--rate", "5"],
  ])
  func `a wrong command line is a usage error`(arguments: [String]) {
    let error = #expect(throws: (any Error).self) { try BenchCommand.parse(arguments) }
    if let error { #expect(BenchCommand.exitCode(for: error) == .validationFailure) }
  }

  @Test func `what is left out has a default that fits the rest`() throws {
    #expect(try BenchCommand.parse([]).plan == BenchPlan())
    let tagged = try BenchCommand.parse(["--tag", "a"]).plan
    #expect(tagged.mode == .segment)
    #expect(tagged.path == "/mid.v1.IDService/GenerateID")
    #expect(try BenchCommand.parse(["--batch", "5"]).plan.path == "/mid.v1.IDService/GenerateBatch")
    #expect(try BenchCommand.parse(["--batch", "5", "--stream"]).plan.path == "/mid.v1.IDService/StreamIDs")
    #expect(try BenchCommand.parse(["-n", "3"]).plan.connections == 3)
  }
}
