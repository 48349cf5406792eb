import HTTPTypes
import Hummingbird
import MidCore
import NIOCore

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `GET /v1/ids/{mode}`, `POST /v1/ids:batch` and `GET /v1/decode/{id}`: ids as JSON. Numbers of 64 bits are strings there, since JavaScript's
/// have 53. A list can be of ids that are texts, too.
struct IDRoutes: Sendable {
  let ids: IDMethods
  /// The most ids of a list; a batch, whose answer is ranges, may be larger.
  let maximumList: Int
  /// The longest body, in bytes.
  let maximumBody: Int
  /// Where room for long lists is reserved.
  let memory: HTTPMemory

  func add(to router: HTTPRouter) {
    router.route("/v1/ids/{mode}", [.get]) { request, context in
      try await self.list(
        request.uri.query ?? "", mode: context.parameters.get("mode") ?? "", for: context.connection)
    }
    router.route("/v1/ids:batch", [.post]) { request, context in
      try await self.batch(request, for: context.connection)
    }
    router.route("/v1/decode/{id}", [.get]) { request, context in
      try self.decode(request.uri.query ?? "", id: context.parameters.get("id") ?? "")
    }
  }

  private func list(
    _ text: String, mode name: String, for connection: ObjectIdentifier
  ) async throws(HTTPProblem) -> Response {
    let query = try HTTPQuery(text)
    let name = HTTPQuery.decoded(name, isForm: false) ?? name
    if let mode = NameMode(rawValue: name) { return try self.named(mode, query) }
    try query.check(allowed: ["tag", "count", "format"])
    if let mode = TextMode(rawValue: name) { return try await self.texts(mode, query, for: connection) }
    let mode = try Self.mode(name, allowed: IDMethods.allModes)
    // With a format, the tag is whose form it is.
    if mode == .snowflake, !["tag", "opaque"].contains(query["format"]) {
      try Self.refuse(tag: query["tag"], of: name)
    }
    let count = try self.count(query["count"])
    let tag = try Self.tag(query["tag"])
    if let format = query["format"] {
      return try await self.formatted(mode, tag, query, format, for: connection)
    }
    let (ranges, room) = try await self.take(
      mode, tag, Int64(count), toAnswerWith: count * Self.numberLength, for: connection)
    let list = Self.head(mode, tag) + ",\"ids\":[\(Self.list(ranges, separator: ",", quote: "\""))]}"
    return .json(ByteBuffer(string: list), in: room)
  }

  /// Numbers, and the text of each.
  private func formatted(
    _ mode: RequestFields.Mode, _ tag: Tag, _ query: HTTPQuery, _ format: String, for connection: ObjectIdentifier
  ) async throws(HTTPProblem) -> Response {
    let count = try self.count(query["count"], atMost: Int(TextIDs.maximumBatch))
    var room: HTTPMemory.Reservation?
    let result: (ranges: [IDRange], texts: [String])
    do throws(IDError) {
      let format = try IDFormat(format)
      let length = try self.ids.forms.bounds(of: format, tag: tag).length + Self.signs
      let bytes = count * (Self.numberLength + length)
      try self.memory.check(bytes, for: connection)
      // Once the ids are there, as otherwise, but before their texts are.
      result = try await self.ids.ids(of: mode, tag: tag, count: Int64(count), format) { () throws(IDError) in
        room = try self.memory.reserve(bytes, for: connection)
      }
    } catch {
      throw HTTPProblem(error)
    }
    var text = Self.head(mode, tag) + ",\"ids\":[\(Self.list(result.ranges, separator: ",", quote: "\""))],\"texts\":["
    for (index, form) in result.texts.enumerated() {
      if index > 0 { text += "," }
      // A tag's own form may have any prefix.
      LogLine.appendString(form, to: &text)
    }
    return .json(ByteBuffer(string: text + "]}"), in: room)
  }

  /// What an id says.
  private func decode(_ text: String, id: String) throws(HTTPProblem) -> Response {
    let query = try HTTPQuery(text)
    try query.check(allowed: ["tag", "kind", "layout"])
    guard let id = HTTPQuery.decoded(id, isForm: false) else {
      throw .badRequest("the id is not percent-encoded UTF-8")
    }
    // gRPC's empty texts stand for what is not given; here that is left out.
    if let empty = query.fields.first(where: \.value.isEmpty)?.name {
      throw .badRequest("query parameter '\(empty)' is empty: leave it out")
    }
    let call = IDReader.Call(
      text: id, tag: query["tag"] ?? "", kind: query["kind"] ?? "", layout: query["layout"] ?? "")
    do throws(IDError) {
      let answer = try self.ids.reader.read(call)
      return .json(DecodeReport(answer.decoded, opened: answer.opened).json)
    } catch {
      throw HTTPProblem(error)
    }
  }

  /// An id that is made of a name.
  private func named(_ mode: NameMode, _ query: HTTPQuery) throws(HTTPProblem) -> Response {
    try query.check(allowed: ["namespace", "name", "format"])
    let texts: [String]
    do throws(IDError) {
      let format: IDFormat? = if let name = query["format"] { try IDFormat(name) } else { nil }
      texts = try mode.texts(of: [query["name"] ?? ""], in: query["namespace"] ?? "", format)
    } catch {
      throw HTTPProblem(error)
    }
    self.ids.meter.issued(mode, count: 1)
    return Self.json(mode.rawValue, texts)
  }

  /// A list of ids that are texts: letters, digits and a few signs, nothing that a JSON string would have to escape.
  private static func json(_ mode: String, _ texts: [String]) -> Response {
    .json("{\"mode\":\"\(mode)\",\"ids\":[\"\(texts.joined(separator: "\",\""))\"]}")
  }

  /// Ids that are texts. They have no tag, as Snowflake ids have none.
  private func texts(
    _ mode: TextMode, _ query: HTTPQuery, for connection: ObjectIdentifier
  ) async throws(HTTPProblem) -> Response {
    try Self.refuse(tag: query["tag"], of: mode.rawValue)
    let count = try self.count(query["count"], atMost: Int(TextIDs.maximumBatch))
    do throws(IDError) {
      let format: IDFormat? = if let name = query["format"] { try IDFormat(name) } else { nil }
      let length = try format?.form(bits: mode.bits)?.maximumLength ?? mode.length
      let room = try self.memory.reserve(count * (length + Self.signs), for: connection)
      let texts = self.ids.texts
      let body = try await self.ids.lane.admit(count: count) { () throws(IDError) in
        try Self.body(mode, count: count, format, texts)
      }
      self.ids.meter.issued(mode, count: Int64(count))
      return .json(body, in: room)
    } catch {
      throw HTTPProblem(error)
    }
  }

  private static func body(
    _ mode: TextMode, count: Int, _ format: IDFormat?, _ texts: TextIDs
  ) throws(IDError) -> ByteBuffer {
    var body = ByteBuffer(string: "{\"mode\":\"\(mode)\",\"ids\":[")
    // Letters, digits and a few signs: nothing that a JSON string would have to escape.
    if let format {
      body.writeString("\"\(try texts.next(mode, count: count, format).joined(separator: "\",\""))\",")
    } else {
      try texts.write(mode, count: count, before: Array("\"".utf8), after: Array("\",".utf8), to: &body)
    }
    // In the place of the last comma.
    body.moveWriterIndex(to: body.writerIndex - 1)
    body.writeString("]}")
    return body
  }

  private func batch(_ request: Request, for connection: ObjectIdentifier) async throws(HTTPProblem) -> Response {
    let type = request.headers[.contentType] ?? ""
    guard type.split(separator: ";").first?.trimmingSpaces().lowercased() == "application/json" else {
      throw HTTPProblem(
        status: .unsupportedMediaType, code: "unsupportedMediaType", detail: "the body is application/json")
    }
    let query = try HTTPQuery(request.uri.query ?? "")
    if let name = query.fields.first?.name {
      throw .badRequest("unknown query parameter '\(name.prefix(64))'; the body says what is asked for")
    }
    let body = try await request.bytes(upTo: self.maximumBody)
    let call: BatchCall
    do {
      call = try JSONDecoder().decode(BatchCall.self, from: Data(body.readableBytesView))
    } catch let problem as HTTPProblem {
      throw problem
    } catch {
      throw .badRequest("the body is no JSON object")
    }
    guard TextMode(rawValue: call.mode) == nil, NameMode(rawValue: call.mode) == nil else {
      throw .badRequest("ids of mode \(call.mode) are texts, which come in no ranges: GET /v1/ids/\(call.mode)?count=N")
    }
    let mode = try Self.mode(call.mode, allowed: IDMethods.modes)
    if mode == .snowflake { try Self.refuse(tag: call.tag, of: call.mode) }
    let tag = try Self.tag(call.tag)
    let (ranges, room) = try await self.take(
      mode, tag, call.count, toAnswerWith: self.mostRanges(mode, call.count) * Self.rangeLength, for: connection)
    let texts = ranges.map { "{\"start\":\"\($0.start)\",\"stride\":\"\($0.stride)\",\"count\":\($0.count)}" }
    let list = Self.head(mode, tag) + ",\"count\":\(ranges.total),\"ranges\":[\(texts.joined(separator: ","))]}"
    return .json(ByteBuffer(string: list), in: room)
  }

  /// How many ranges a batch has at most: Snowflake ids have one for each tick, at least, that they are taken from; of the
  /// other modes' it is few.
  private func mostRanges(_ mode: RequestFields.Mode, _ count: Int64) -> Int {
    let perTick = mode == .snowflake ? Int64(1) << Int64(self.ids.snowflake.layout.sequenceBits) : .max
    // A tick's first id may be any in its lower quarter. What is no count at all is for the call to refuse.
    return Int(min(max(0, count), self.ids.limits.maximumBatch) / max(1, perTick / 2)) + 2
  }

  /// Ids, and room for an answer of up to so many bytes.
  private func take(
    _ mode: RequestFields.Mode, _ tag: Tag, _ count: Int64, toAnswerWith bytes: Int, for connection: ObjectIdentifier
  ) async throws(HTTPProblem) -> ([IDRange], HTTPMemory.Reservation?) {
    do throws(IDError) {
      return try await self.memory.reserve(bytes, for: connection) { () throws(IDError) in
        try await self.ids.ids(of: mode, tag: tag, count: count)
      }
    } catch {
      throw HTTPProblem(error)
    }
  }

  /// - Parameter texts: The most texts of a list, or nil for numbers, of which a batch hands out more.
  private func count(_ text: String?, atMost texts: Int? = nil) throws(HTTPProblem) -> Int {
    guard let text else { return 1 }
    let most = min(self.maximumList, Int(self.ids.limits.maximumBatch), texts ?? .max)
    guard let count = SettingType<Int>.integer(1...most).parse(text) else {
      let more = texts == nil ? ", and POST /v1/ids:batch hands out more as ranges" : ""
      throw .badRequest("count is '\(text.prefix(64))'; a list has 1 to \(most) ids\(more)")
    }
    return count
  }

  // MARK: - Texts

  /// What stands around a text in a list: two quotes and a comma.
  private static let signs = 3
  /// How long a number in a list is at most, with that.
  private static let numberLength = 19 + signs
  /// How long a range in a list is at most.
  private static let rangeLength = 96

  static func tag(_ text: String?) throws(HTTPProblem) -> Tag {
    guard let text else { return .default }
    do throws(IDError) { return try Tag(text) } catch { throw HTTPProblem(error) }
  }

  /// Whoever names a tag expects ids of that tag's own, which this mode has not.
  private static func refuse(tag: String?, of mode: String) throws(HTTPProblem) {
    guard tag == nil else { throw .badRequest("ids of mode \(mode) have no tag") }
  }

  private static func mode(_ name: String, allowed: String) throws(HTTPProblem) -> RequestFields.Mode {
    switch name {
    case "snowflake": return .snowflake
    case "segment": return .segment
    case "ticket": return .ticket
    default: throw .badRequest("unknown mode '\(name.prefix(64))'; allowed: \(allowed)")
    }
  }

  /// The beginning of an answer: the mode, and the tag where ids have one.
  private static func head(_ mode: RequestFields.Mode, _ tag: Tag) -> String {
    guard mode != .snowflake else { return "{\"mode\":\"snowflake\"" }
    var text = "{\"mode\":\"\(mode)\",\"tag\":"
    LogLine.appendString(tag.name, to: &text)
    return text
  }

  /// All ids of some ranges in a row.
  static func list(_ ranges: [IDRange], separator: String, quote: String = "") -> String {
    var text = ""
    for range in ranges {
      var id = range.start
      for _ in 0..<range.count {
        if !text.isEmpty { text += separator }
        text += quote
        text += String(id)
        text += quote
        id += range.stride
      }
    }
    return text
  }
}

/// The body of `POST /v1/ids:batch`. Unknown members are an error: a word misspelt would change what is asked for.
private struct BatchCall: Decodable {
  var mode: String
  var tag: String?
  var count: Int64

  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  init(from decoder: any Decoder) throws {
    let object = try decoder.container(keyedBy: Key.self)
    let allowed = ["mode", "tag", "count"]
    if let other = object.allKeys.map(\.stringValue).filter({ !allowed.contains($0) }).min() {
      throw HTTPProblem.badRequest("unknown member '\(other.prefix(64))'; allowed: \(allowed.joined(separator: ", "))")
    }
    self.mode = try Self.member("mode", object, "a string, one of \(IDMethods.modes)")
    self.count = try Self.member("count", object, "a whole number, 1 or more")
    self.tag = nil
    if object.contains(Key(stringValue: "tag")) {
      // Not as the optional that it is kept in: null is no tag.
      let tag: String = try Self.member("tag", object, "a string")
      self.tag = tag
    }
  }

  private static func member<Value: Decodable>(
    _ name: String, _ object: KeyedDecodingContainer<Key>, _ allowed: String
  ) throws -> Value {
    do {
      return try object.decode(Value.self, forKey: Key(stringValue: name))
    } catch {
      throw HTTPProblem.badRequest("'\(name)' is to be \(allowed)")
    }
  }
}

extension Request {
  /// The whole body.
  ///
  /// - Throws: 413 where it is longer than `limit` bytes, 400 where it does not come to its end.
  func bytes(upTo limit: Int) async throws(HTTPProblem) -> ByteBuffer {
    do {
      return try await self.body.collect(upTo: limit)
    } catch is NIOTooManyBytesError {
      throw .tooLarge(limit)
    } catch {
      throw .badRequest("the body did not come to its end")
    }
  }
}
