import ArgumentParser
import Foundation
import MidRPC
import MidServer
import NIOHPACK
import Testing

@testable import mid

@Suite("mid next")
struct NextCommandTests {
  /// Answers like a server whose next id is 1 and whose batches come in two ranges.
  private static let service: CannedServer.Script = { request in
    let message = request.message
    do {
      switch request.headers.first(name: ":path") {
      case "/pb.IDMaker/MakeIDService":
        return CannedStep.reply(IDResponse(id: try IDRequest(decoding: message).mode == "segment" ? 1 : .max).encoded())
      case "/mid.v1.IDService/GenerateID":
        let call = try GenerateIDRequest(decoding: message)
        if call.mode == "ulid" {
          return CannedStep.reply(GenerateIDResponse(text: "01ARZ3NDEKTSV4RRFFQ69G5FAV").encoded())
        }
        if call.mode == "uuid4" { return CannedStep.reply(GenerateIDResponse(id: 5).encoded()) }
        return call.tag == "nope"
          ? CannedStep.failure("5", "there is no tag nope")
          : CannedStep.reply(GenerateIDResponse(id: call.mode == "segment" ? 42 : 43).encoded())
      case "/mid.v1.IDService/GenerateBatch":
        let call = try GenerateBatchRequest(decoding: message)
        if call.mode == "uuid7" {
          return CannedStep.reply(
            GenerateBatchResponse(texts: [String](repeating: "t", count: Int(min(call.count, 10_000)))).encoded())
        }
        if call.mode == "ulid" { return CannedStep.reply(GenerateBatchResponse(texts: ["t"]).encoded()) }
        if call.tag == "short" { return CannedStep.reply(GenerateBatchResponse().encoded()) }
        if call.tag == "wide" {
          let range = IDRangeMessage(start: .max, stride: 1, count: call.count)
          return CannedStep.reply(GenerateBatchResponse(ranges: [range]).encoded())
        }
        let ranges = [
          IDRangeMessage(start: 10, stride: 5, count: 1), IDRangeMessage(start: 100, stride: 1, count: call.count - 1),
        ]
        return CannedStep.reply(GenerateBatchResponse(ranges: ranges).encoded())
      default: return CannedStep.failure("12", "")
      }
    } catch {
      return CannedStep.failure("3", "\(error)")
    }
  }

  private func next(
    _ arguments: String...
  ) async throws -> (text: String, error: (any Error)?, requests: [CannedRequest]) {
    try await CannedServer.run(Self.service) { server in
      let command = try NextCommand.parse(["--server", "127.0.0.1:\(server.port)"] + arguments)
      let (text, error) = try await captured { try await command.run(into: &$0) }
      return (text, error, server.requests)
    }
  }

  @Test func `without arguments it prints the two lines of the original's client`() async throws {
    let result = try await self.next()
    #expect(result.text == "Snowflake ID: 9223372036854775807\nSegment ID: 1\n")
    #expect(result.error == nil)
  }

  @Test func `with a mode of texts it prints these`() async throws {
    #expect(try await self.next("--mode", "ulid").text == "01ARZ3NDEKTSV4RRFFQ69G5FAV\n")
    let many = try await self.next("--mode", "uuid7", "-n", "25000")
    #expect(many.text.split(separator: "\n").count == 25_000)
    #expect(many.requests.count == 3)
    #expect(many.error == nil)
    #expect("\(try #require(try await self.next("--mode", "uuid4").error))".contains("without a text"))
    #expect("\(try #require(try await self.next("--mode", "ulid", "-n", "2").error))".contains("1 ids instead of 2"))
    #expect(throws: (any Error).self) { try NextCommand.parse(["--mode", "ulid", "--tag", "orders"]) }
    #expect(throws: (any Error).self) { try NextCommand.parse(["--mode", "uuid2"]) }
  }

  @Test func `with a mode it prints a bare id`() async throws {
    #expect(try await self.next("--mode", "snowflake").text == "43\n")
    #expect(try await self.next("--mode", "segment", "-n", "1").text == "42\n")
  }

  @Test func `a tag implies segment`() async throws {
    let result = try await self.next("--tag", "orders")
    #expect(result.text == "42\n")
    let request = try #require(result.requests.first)
    #expect(try GenerateIDRequest(decoding: request.message) == GenerateIDRequest(mode: "segment", tag: "orders"))
  }

  @Test func `many ids come from batches of at most a million, written out one a line`() async throws {
    #expect(try await self.next("--mode", "snowflake", "-n", "4").text == "10\n100\n101\n102\n")
    let result = try await self.next("--tag", "orders", "--count", "1000003")
    #expect(try result.requests.map { try GenerateBatchRequest(decoding: $0.message).count } == [1_000_000, 3])
    let lines = result.text.utf8.split(separator: UInt8(ascii: "\n"))
    #expect(lines.count == 1_000_003)
    #expect(lines[1_000_000...].map { String(Substring($0)) } == ["10", "100", "101"])
  }

  @Test func `a refusal is one line with code, message and advice`() async throws {
    let result = try await self.next("--tag", "nope")
    #expect(result.text.isEmpty)
    #expect(
      (result.error as? CommandFailure)?.description
        == "NOT_FOUND: there is no tag nope (`mid tag create NAME --store URL` makes a tag, `mid tag list` shows them)")
  }

  @Test func `a batch that is not what was asked for is refused`() async throws {
    let short = try await self.next("--tag", "short", "-n", "5").error as? CommandFailure
    #expect(short?.description == "INTERNAL: the server answered with 0 ids instead of 5")
    let wide = try await self.next("--tag", "wide", "-n", "5")
    #expect(wide.text.isEmpty)
    let text = try #require(wide.error as? CommandFailure).description
    #expect(text.hasPrefix("INTERNAL: the server answered with 5 ids from"))
  }

  @Test func `nobody listening is one line with advice`() async throws {
    let port = try await CannedServer.run { _ in
      []
    } while: {
      $0.port
    }
    let command = try NextCommand.parse(["--server", "127.0.0.1:\(port)"])
    let (_, error) = try await captured { try await command.run(into: &$0) }
    #expect(
      (error as? CommandFailure)?.description
        == "UNAVAILABLE: can't connect to 127.0.0.1:\(port): Connection refused; is `mid serve` running there?")
  }

  @Test(arguments: [
    ["--mode", "uuid"], ["--mode", "snowflake", "--tag", "a"], ["-n", "5"], ["--mode", "segment", "-n", "0"],
    ["--mode", "segment", "-n", "1000000001"], ["--tag", ""], ["--tag", " a"], ["--timeout", "0"],
    ["--timeout", "nan"],
    ["--server", "host:port"], ["--server", "127.0.0.1:0"], ["extra"],
  ])
  func `a wrong command line is a usage error with code 64`(arguments: [String]) {
    let error = #expect(throws: (any Error).self) { try NextCommand.parse(arguments) }
    if let error { #expect(NextCommand.exitCode(for: error) == .validationFailure) }
  }

  @Test func `the port of a server is 50051 where none is given`() throws {
    #expect(try NextCommand.parse([]).client.server == HostPort(host: "127.0.0.1", port: 50_051))
    #expect(
      try NextCommand.parse(["--server", "ids.example"]).client.server == HostPort(host: "ids.example", port: 50_051))
    #expect(try NextCommand.parse(["--server", "[::1]:7"]).client.server == HostPort(host: "::1", port: 7))
  }

  @Test func `the version is one line`() {
    #expect(Mid.configuration.version == "mid 0.1.0")
  }
}
