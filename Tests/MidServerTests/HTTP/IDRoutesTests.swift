import Foundation
import HTTPTypes
import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("/v1/ids")
struct IDRoutesTests {
  @Test func idsOfATagAreAListOfStrings() async throws {
    let door = try HTTPDoor()
    let first = try await door.ask("/v1/ids/segment?count=3")
    #expect(
      first
        == .init(
          status: 200, type: "application/json", text: #"{"mode":"segment","tag":"default","ids":["1","2","3"]}"#))
    #expect(try await door.ask("/v1/ids/segment").text == #"{"mode":"segment","tag":"default","ids":["4"]}"#)
    #expect(try await door.ask("/v1/ids/ticket").text == #"{"mode":"ticket","tag":"default","ids":["1"]}"#)
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"segment\"} 4\n"))
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"ticket\"} 1\n"))
    #expect(
      door.server.registry.scrape().contains("mid_http_requests_total{route=\"/v1/ids/{mode}\",code=\"200\"} 3\n"))
  }

  @Test func snowflakeIDsGrowAndHaveNoTag() async throws {
    let door = try HTTPDoor()
    struct Ids: Decodable {
      var mode: String
      var ids: [String]
    }
    var last: Int64 = 0
    for count in [1, 50, 1, 100] {
      let answer = try await door.ask("/v1/ids/snowflake?count=\(count)")
      let read = try JSONDecoder().decode(Ids.self, from: Data(answer.text.utf8))
      #expect(read.mode == "snowflake" && read.ids.count == count && !answer.text.contains("tag"))
      for text in read.ids {
        let id = try #require(Int64(text))
        #expect(id > last)
        last = id
      }
    }
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"snowflake\"} 152\n"))
  }

  @Test(arguments: TextMode.allCases) func idsThatAreTextsAreListed(_ mode: TextMode) async throws {
    let door = try HTTPDoor()
    struct List: Decodable {
      var mode: String
      var ids: [String]
    }
    var ids: [String] = []
    for (query, count) in [("", 1), ("?count=100", 100), ("?count=2", 2)] {
      let answer = try await door.ask("/v1/ids/\(mode)\(query)")
      #expect(answer.status == 200 && answer.type == "application/json")
      let list = try JSONDecoder().decode(List.self, from: Data(answer.text.utf8))
      #expect(list.mode == mode.rawValue && list.ids.count == count)
      ids += list.ids
    }
    #expect(Set(ids).count == 103)
    switch mode {
    case .objectid: #expect(ids.allSatisfy { ObjectID($0) != nil })
    case .ulid: #expect(ids.allSatisfy { ULID($0) != nil })
    default: #expect(ids.allSatisfy { UUIDValue($0)?.version == Int(mode.rawValue.dropFirst(4)) })
    }
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"\(mode)\"} 103\n"))
  }

  @Test(arguments: [
    ("/v1/ids/segmint", 400, "unknown mode 'segmint'; allowed: snowflake, segment, ticket, uuid1, uuid4"),
    ("/v1/ids/segment?count=0", 400, "count is '0'; a list has 1 to 100 ids"),
    ("/v1/ids/segment?count=101", 400, "a list has 1 to 100 ids, and POST /v1/ids:batch hands out more"),
    ("/v1/ids/uuid7?count=101", 400, "count is '101'; a list has 1 to 100 ids"),
    ("/v1/ids/segment?count=1x", 400, "count is '1x'"), ("/v1/ids/segment?count=", 400, "count is ''"),
    ("/v1/ids/segment?count=-1", 400, "count is '-1'"),
    ("/v1/ids/segment?form=hex", 400, "unknown query parameter 'form'; allowed: tag, count, format"),
    ("/v1/ids/segment?tag=a&tag=b", 400, "'tag' is given twice"),
    ("/v1/ids/segment?tag=%zz", 400, "the query is not percent-encoded UTF-8"),
    ("/v1/ids/segment?tag=%ff", 400, "the query is not percent-encoded UTF-8"),
    ("/v1/ids/segment?tag=", 400, "a tag has 1 to 128 bytes"),
    ("/v1/ids/segment?tag=a%00b", 400, "a tag must not hold control characters"),
    ("/v1/ids/uuid7?tag=x", 400, "ids of mode uuid7 have no tag"),
    ("/v1/ids/snowflake?tag=default", 400, "ids of mode snowflake have no tag"),
    ("/v1/ids/ticket?tag=none", 404, "there are no tickets of tag none"),
    ("/v1/ids", 404, "there is nothing at this path"), ("/", 404, "there is nothing at this path"),
    ("/v1/ids/segment/x", 404, "there is nothing at this path"),
  ])
  func whatIsWrongIsSaidAsProblemDetails(_ path: String, _ status: Int, _ detail: String) async throws {
    let answer = try await HTTPDoor().ask(path)
    #expect(answer.status == status && answer.type == "application/problem+json", "\(answer)")
    let problem = try JSONDecoder().decode(Problem.self, from: Data(answer.text.utf8))
    #expect(problem.status == status && problem.type == "about:blank")
    #expect(problem.title == (status == 400 ? "Bad Request" : "Not Found"))
    #expect(problem.detail.contains(detail), "\(problem.detail)")
    #expect(!problem.code.isEmpty)
  }

  @Test func anUnknownTagIs404OnceTheListWasRead() async throws {
    let door = try HTTPDoor()
    async let answer = door.ask("/v1/ids/segment?tag=or%20ders")
    await door.server.log.wait(for: "refresh")
    door.server.directory.refreshed([TagRecord(tag: .default, maxID: 0, step: 10)])
    let problem = try JSONDecoder().decode(Problem.self, from: Data(try await answer.text.utf8))
    #expect(problem.status == 404 && problem.code == "unknownTag")
    #expect(problem.detail == "no tag 'or ders'; create it with: mid tag create or ders")
  }

  @Test func aBatchIsAnsweredWithRanges() async throws {
    let door = try HTTPDoor()
    let answer = try await door.post("/v1/ids:batch", #"{"mode":"segment","count":900}"#)
    #expect(
      answer.text
        == #"{"mode":"segment","tag":"default","count":900,"ranges":[{"start":"1","stride":"1","count":900}]}"#)
    let next = try await door.post(
      "/v1/ids:batch", #"{"count":1,"tag":"default","mode":"segment"}"#, type: "Application/JSON; charset=utf-8")
    #expect(next.text.contains(#"{"start":"901","stride":"1","count":1}"#))
  }

  @Test(arguments: [
    ("", 400, "the body is no JSON object"), ("[]", 400, "the body is no JSON object"),
    ("{", 400, "the body is no JSON object"), ("{}", 400, "'mode' is to be a string, one of snowflake"),
    (#"{"mode":"segment"}"#, 400, "'count' is to be a whole number, 1 or more"),
    (#"{"mode":"segment","count":1.5}"#, 400, "'count' is to be a whole number"),
    (#"{"mode":"segment","count":"1"}"#, 400, "'count' is to be a whole number"),
    (#"{"mode":"segment","count":true}"#, 400, "'count' is to be a whole number"),
    (#"{"mode":"segment","count":99999999999999999999}"#, 400, "'count' is to be a whole number"),
    (#"{"mode":"segment","count":0}"#, 400, "count is 0; a batch has 1 to 10000 ids"),
    (#"{"mode":"segment","count":10001}"#, 400, "count is 10001; a batch has 1 to 10000 ids"),
    (#"{"mode":"segment","count":1,"tag":null}"#, 400, "'tag' is to be a string"),
    (#"{"mode":"segment","count":1,"tga":"x"}"#, 400, "unknown member 'tga'; allowed: mode, tag, count"),
    (#"{"mode":"snowflake","count":1,"tag":"x"}"#, 400, "ids of mode snowflake have no tag"),
    (#"{"mode":"other","count":1}"#, 400, "unknown mode 'other'; allowed: snowflake, segment, ticket"),
    (#"{"mode":"ulid","count":1}"#, 400, "ids of mode ulid are texts, which come in no ranges"),
    (String(repeating: " ", count: 1025), 413, "a request's body has at most 1024 bytes"),
  ])
  func aBatchThatIsWrongTakesNothing(_ body: String, _ status: Int, _ detail: String) async throws {
    let door = try HTTPDoor()
    let answer = try await door.post("/v1/ids:batch", body)
    let problem = try JSONDecoder().decode(Problem.self, from: Data(answer.text.utf8))
    #expect(answer.status == status && problem.detail.contains(detail), "\(answer)")
    #expect(try await door.ask("/v1/ids/segment").text.contains(#"["1"]"#))
  }

  @Test func aBatchOfAnotherTypeIs415AndAnotherMethod405() async throws {
    let door = try HTTPDoor()
    #expect(try await door.post("/v1/ids:batch", #"{"mode":"segment","count":1}"#, type: "text/plain").status == 415)
    #expect(try await door.ask("/v1/ids:batch", method: .post, body: "{}").status == 415)
    for (path, method, allowed) in [
      ("/v1/ids:batch", HTTPRequest.Method.get, "POST"), ("/v1/ids/segment", .post, "GET"),
      ("/v1/ids/segment", .head, "GET"), ("/healthz", .delete, "GET, HEAD"), ("/readyz", .trace, "GET, HEAD"),
    ] {
      #expect(try await door.allowance(path, method) == (405, allowed))
    }
    let unknown = try #require(HTTPRequest.Method("BREW"))
    #expect(try await door.allowance("/healthz", unknown) == (405, "GET, HEAD"))
    #expect(try await door.allowance("//v1/ids/segment/", .put) == (405, "GET"))
    #expect(try await door.ask("/nothing", method: unknown).status == 404)
    #expect(try await door.ask("/nothing", method: .post).status == 404)
  }

  @Test func readinessIsToldByModeWithReasons() async throws {
    let door = try HTTPDoor()
    let up =
      #"{"ready":true,"modes":{"snowflake":{"ready":true,"reasons":[]},"segment":{"ready":true,"reasons":[]},"#
      + #""ticket":{"ready":true,"reasons":[]}}}"#
    #expect(try await door.ask("/readyz") == .init(status: 200, type: "application/json", text: up))
    door.server.readiness.withLock { $0.segment = false }
    let down = try await door.ask("/readyz")
    #expect(down.status == 503)
    #expect(down.text.contains(#""snowflake":{"ready":true,"reasons":[]}"#))
    #expect(down.text.contains(#""segment":{"ready":false,"reasons":["segment is off"]}"#))
    door.server.readiness.withLock { $0.segment = true }
    door.server.health.stopping.raise()
    let stopping = try await door.ask("/readyz")
    #expect(
      stopping.status == 503
        && stopping.text.contains(#""ticket":{"ready":false,"reasons":["the server is stopping"]}"#))
    #expect(try await door.ask("/healthz").text == #"{"status":"ok"}"#)
    #expect(try await door.ask("/healthz", method: .head) == .init(status: 200, type: "application/json", text: ""))
  }

  @Test(arguments: [
    (IDError.Code.invalidArgument, 400), (.unknownTag, 404), (.tagExists, 409), (.overloaded, 429),
    (.storeUnavailable, 503), (.storeRejected, 503), (.clockBehind, 503), (.leaseLost, 503), (.notReady, 503),
    (.deadlineExceeded, 504), (.wentBackwards, 500), (.exhausted, 500),
  ])
  func codesBecomeStatuses(_ code: IDError.Code, _ status: Int) {
    let problem = HTTPProblem(IDError(code, "secret place"))
    #expect(problem.status.code == status && problem.code == code.description)
    #expect((problem.headers[.retryAfter] != nil) == [429, 503].contains(status))
    // The store's own words are for the log.
    #expect(problem.detail.contains("secret") == ![IDError.Code.storeUnavailable, .storeRejected].contains(code))
  }
}

/// Problem details, as a client reads them.
struct Problem: Decodable {
  var type: String
  var title: String
  var status: Int
  var code: String
  var detail: String
}

@Suite("/v1/ids with texts, and /v1/decode")
struct FormRoutesTests {
  @Test func numbersComeWithTheirTexts() async throws {
    let door = try HTTPDoor()
    #expect(
      try await door.ask("/v1/ids/segment?count=2&format=base36").text
        == #"{"mode":"segment","tag":"default","ids":["1","2"],"texts":["0000000000001","0000000000002"]}"#)
    #expect(
      try await door.ask("/v1/ids/ticket?format=decimal").text
        == #"{"mode":"ticket","tag":"default","ids":["1"],"texts":["1"]}"#)
    #expect(try await door.ask("/v1/ids/snowflake?format=hex").text.contains(#""texts":["0"#))
  }

  @Test func aFormsPrefixIsEscapedAndRead() async throws {
    let forms = try TagForms(templates: [.default: try TextTemplate(#"a"\/{decimal:3}"#)])
    let door = try HTTPDoor(forms: forms)
    let answer = try await door.ask("/v1/ids/segment?format=tag")
    #expect(answer.text == #"{"mode":"segment","tag":"default","ids":["1"],"texts":["a\"\\/001"]}"#)
    let decoded = try await door.ask("/v1/decode/a%22%5C%2F001?tag=default&kind=number")
    #expect(decoded.status == 200 && decoded.type == "application/json")
    #expect(
      decoded.text
        == #"{"id": "1", "readings": [{"kind": "number", "canonical": "1", "digits": "decimal"}], "ambiguity": null}"#)
    // The number inside is decimal for sure, though 11 digits of base 62 are a number, too.
    let inside = try await door.ask("/v1/decode/a%22%5C%2F12345678901?tag=default&kind=number")
    #expect(inside.text.hasSuffix(#""canonical": "12345678901", "digits": "decimal"}], "ambiguity": null}"#))
  }

  @Test func anIDSaysWhatItSays() async throws {
    let door = try HTTPDoor()
    let answer = try await door.ask("/v1/decode/017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    #expect(answer.text.contains(#""kind": "uuid""#) && answer.text.contains(#""version": 7"#))
    let leaf = try await door.ask("/v1/decode/1169786042799259000?layout=leaf")
    #expect(leaf.text.contains(#""worker": 39"#))
    let crockford = try await door.ask("/v1/decode/01FWHE4YDGFK1SHH6W1G60EECF?kind=uuid")
    #expect(crockford.text.contains(#""canonical": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "digits": "crockford""#))
  }

  @Test(arguments: ["7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ffffffff-ffff-7fff-bfff-ffffffffffff"])
  func aTimePastTheYear9999IsLeftOut(text: String) async throws {
    let answer = try await HTTPDoor().ask("/v1/decode/\(text)")
    #expect(answer.status == 200 && !answer.text.contains(#""time""#))
    #expect(answer.text.contains(#""unix_ms": "281474976710655""#))
    // The last millisecond that has a text: 253402300799999.
    let last = try await HTTPDoor().ask("/v1/decode/76EZ91ZPZZ0000000000000000")
    #expect(last.text.contains(#""time": "9999-12-31T23:59:59.999Z""#))
  }

  @Test func aNameGivesItsID() async throws {
    let answer = try await HTTPDoor().ask("/v1/ids/uuid5?namespace=dns&name=www.example.com")
    #expect(answer.text == #"{"mode":"uuid5","ids":["2ed6657d-e927-568b-95e1-2665a8aea6a2"]}"#)
  }

  @Test(arguments: [
    ("/v1/ids/uuid5?namespace=dns", "a name, which is missing"), ("/v1/ids/uuid5?name=a", "namespace is ''"),
    ("/v1/ids/uuid5?namespace=dns&name=a&count=1", "unknown query parameter 'count'"),
    ("/v1/ids/segment?format=base64", "unknown format"), ("/v1/ids/segment?format=", "unknown format"),
    ("/v1/ids/segment?format=tag", "no form of its own"), ("/v1/ids/segment?format=opaque", "no opaque"),
    ("/v1/decode/x", "no id that is known"), ("/v1/decode/1?tag=default", "no form of its own"),
    ("/v1/decode/1?format=hex", "unknown query parameter 'format'"), ("/v1/decode/%FF", "percent-encoded"),
    ("/v1/decode/1?tag=", "'tag' is empty"), ("/v1/decode/1?kind=", "'kind' is empty"),
    ("/v1/decode/1?layout=mine", "unknown layout"),
    ("/v1/decode/1?kind=isbn", "unknown kind 'isbn'; allowed: snowflake, number, uuid, ulid, objectid, opaque"),
    ("/v1/decode/1?kind=opaque", "an opaque number is that of a tag's id"),
  ])
  func whatCannotBeIsRefused(path: String, part: String) async throws {
    let answer = try await HTTPDoor().ask(path)
    #expect(answer.status == 400 && answer.text.contains(part), "\(answer.text)")
  }
}
