import HTTPTypes
import Hummingbird
import MidCore

/// Leaf's paths, as its clients know them: the bare id as text, and failures as its framework writes them.
///
/// `/api/segment/get/{key}`, `/api/snowflake/get/{key}`, `/decodeSnowflakeId?snowflakeId=N`, `/cache` and `/db`, by any
/// method. Where Leaf would have answered 0 or a number below it, the answer is a failure.
struct LeafRoutes: Sendable {
  let ids: IDMethods
  /// The time, in milliseconds since the Unix epoch.
  let now: @Sendable () -> Int64
  /// Writes a time as the wall clock of this machine shows it.
  let localTime: @Sendable (_ milliseconds: Int64) -> String
  /// Where room for the pages is reserved.
  let memory: HTTPMemory

  func add(to router: HTTPRouter) {
    let any = HTTPRouter.everyMethod
    router.route("/api/segment/get/{key}", any) { request, context in
      await self.segment(context.parameters.get("key") ?? "", request)
    }
    router.route("/api/snowflake/get/{key}", any) { request, _ in await self.snowflake(request) }
    router.route("/decodeSnowflakeId", any) { request, _ in try self.decode(request) }
    let pages = LeafPages(segments: self.ids.segments)
    router.route("/cache", any) { _, context in try self.page(pages.cache, context) }
    router.route("/db", any) { _, context in try self.page(pages.table, context) }
  }

  private func page(_ text: String, _ context: HTTPContext) throws(HTTPProblem) -> Response {
    do throws(IDError) {
      let room = try self.memory.reserve(text.utf8.count, for: context.connection)
      return .text(text, type: LeafPages.contentType, in: room)
    } catch {
      throw HTTPProblem(error)
    }
  }

  // MARK: - Ids

  private func segment(_ key: String, _ request: Request) async -> Response {
    do throws(IDError) {
      let tag = try Tag(HTTPQuery.decoded(key, isForm: false) ?? key)
      return Self.answer(try await self.ids.ids(of: .segment, tag: tag, count: 1))
    } catch {
      return self.failure(Self.segmentCode(error.code), request)
    }
  }

  private func snowflake(_ request: Request) async -> Response {
    do throws(IDError) {
      return Self.answer(try await self.ids.ids(of: .snowflake, tag: .default, count: 1))
    } catch {
      return self.failure(Self.snowflakeCode(error.code), request)
    }
  }

  private static func answer(_ ranges: [IDRange]) -> Response {
    .text(IDRoutes.list(ranges, separator: ","), type: "text/plain;charset=UTF-8")
  }

  /// Leaf's number for a failure: -1 not initialised, -2 key unknown, -3 no segment ready.
  static func segmentCode(_ code: IDError.Code) -> Int {
    switch code {
    case .notReady: -1
    case .unknownTag, .invalidArgument: -2
    default: -3
    }
  }

  /// Leaf's number for a failure: -3 the clock went back too far to wait for, -1 no id in time, whatever the reason.
  static func snowflakeCode(_ code: IDError.Code) -> Int { code == .clockBehind ? -3 : -1 }

  private func failure(_ number: Int, _ request: Request) -> Response {
    self.error(.internalServerError, "Result{id=\(number), status=EXCEPTION}", request)
  }

  /// A failure as Leaf's framework writes it.
  private func error(_ status: HTTPResponse.Status, _ message: String, _ request: Request) -> Response {
    var text =
      "{\"timestamp\":\(self.now()),\"status\":\(status.code),\"error\":\"\(status.reasonPhrase)\",\"message\":"
    LogLine.appendString(message, to: &text)
    text += ",\"path\":"
    LogLine.appendString(request.uri.path, to: &text)
    return .text(text + "}", type: "application/json;charset=UTF-8", status: status)
  }

  // MARK: - Taking an id apart

  private func decode(_ request: Request) throws(HTTPProblem) -> Response {
    // Given twice it is one text with a comma to Leaf's framework, and so no number.
    let values = try HTTPQuery(request.uri.query ?? "").fields.filter { $0.name == "snowflakeId" }.map(\.value)
    guard !values.isEmpty else {
      return self.error(.badRequest, "Required String parameter 'snowflakeId' is not present", request)
    }
    let type = "application/json;charset=UTF-8"
    let layout = self.ids.snowflake.layout
    guard let id = Self.number(values.joined(separator: ",")) else { return .text(Self.undecodable, type: type) }
    let fields = layout.fields(ofBits: id)
    let (length, isTooLong) = fields.tick.multipliedReportingOverflow(by: layout.tickMilliseconds)
    let (time, isTooFar) = layout.epochMilliseconds.addingReportingOverflow(length)
    // Further than a hundred million years away no calendar goes. Ids of Leaf's own layout stay within 70 years.
    guard !isTooLong, !isTooFar, abs(time / 1_000) < 1 << 52 else { return .text(Self.undecodable, type: type) }
    return .text(
      "{\"timestamp\":\"\(time)(\(self.localTime(time)))\",\"sequenceId\":\"\(fields.sequence)\","
        + "\"workerId\":\"\(fields.worker)\"}", type: type)
  }

  /// The number that a text is to Java's `Long.parseLong`: a sign or none, then decimal digits, in any script that has them
  /// in Unicode's first 65,536 places. Nil where it is none, or past 64 bits.
  static func number(_ text: String) -> Int64? {
    var digits = ""
    for (place, scalar) in text.unicodeScalars.enumerated() {
      if place == 0, scalar == "-" || scalar == "+" {
        digits.unicodeScalars.append(scalar)
        continue
      }
      guard scalar.value < 0x1_0000, scalar.properties.numericType == .decimal,
        let value = scalar.properties.numericValue
      else { return nil }
      digits += String(Int(value))
    }
    return Int64(digits)
  }

  private static let undecodable = "{\"errorMsg\":\"snowflake Id反解析发生异常!\"}"
}
