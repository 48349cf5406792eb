import MidCore
import MidRPC
import MidServer

/// The calls for ids, over a client.
struct IDCalls: Sendable {
  /// The most ids one batch call asks for, as the service's contract has it.
  static let maximumBatch = 1_000_000
  /// The same for ids that are texts.
  static let maximumTextBatch = 10_000

  let client: RPCClient
  /// How long each call may take.
  let timeout: Duration

  /// One id by `pb.IDMaker/MakeIDService`, the call of the Go original's clients. Segments come from the tag `default`.
  func makeID(_ mode: ModeArgument) async throws(RPCStatus) -> Int64 {
    let request = IDRequest(mode: mode.rawValue)
    return try await self.call("/pb.IDMaker/MakeIDService", request, IDResponse.self).id
  }

  /// One id by `mid.v1.IDService/GenerateID`. An empty tag means `default`.
  func generateID(_ mode: ModeArgument, tag: String) async throws(RPCStatus) -> Int64 {
    let request = GenerateIDRequest(mode: mode.rawValue, tag: tag)
    return try await self.call("/mid.v1.IDService/GenerateID", request, GenerateIDResponse.self).id
  }

  /// Exactly `count` ids as texts of a format, 1 to ``maximumTextBatch``, by `mid.v1.IDService/GenerateBatch`.
  ///
  /// - Throws: The server's status, and `INTERNAL` where its answer has another number of texts.
  func formatted(_ mode: String, tag: String, count: Int, format: String) async throws(RPCStatus) -> [String] {
    let request = GenerateBatchRequest(mode: mode, tag: tag, count: UInt32(count), format: format)
    return try await self.texts(request)
  }

  /// One id that is a text, by `mid.v1.IDService/GenerateID`.
  ///
  /// - Throws: The server's status, and `INTERNAL` where its answer has no text.
  func generateText(_ request: GenerateIDRequest) async throws(RPCStatus) -> String {
    let text = try await self.call("/mid.v1.IDService/GenerateID", request, GenerateIDResponse.self).text
    guard !text.isEmpty else { throw RPCStatus(.internalError, "the server answered without a text") }
    return text
  }

  /// Exactly `count` ids that are texts, 1 to 10,000, by `mid.v1.IDService/GenerateBatch`.
  ///
  /// - Throws: The server's status, and `INTERNAL` where its answer has another number of texts.
  func generateTexts(_ mode: TextMode, count: Int) async throws(RPCStatus) -> [String] {
    try await self.texts(GenerateBatchRequest(mode: mode.rawValue, count: UInt32(count)))
  }

  private func texts(_ request: GenerateBatchRequest) async throws(RPCStatus) -> [String] {
    let texts = try await self.call("/mid.v1.IDService/GenerateBatch", request, GenerateBatchResponse.self).texts
    guard texts.count == Int(request.count) else {
      throw RPCStatus(.internalError, "the server answered with \(texts.count) ids instead of \(request.count)")
    }
    return texts
  }

  /// Exactly `count` ids, 1 to ``maximumBatch``, by `mid.v1.IDService/GenerateBatch`.
  ///
  /// - Throws: The server's status, and `INTERNAL` where its ranges hold another number of ids or none that can be.
  func generateBatch(_ mode: ModeArgument, tag: String, count: Int) async throws(RPCStatus) -> [IDRange] {
    let request = GenerateBatchRequest(mode: mode.rawValue, tag: tag, count: UInt32(count))
    let response = try await self.call("/mid.v1.IDService/GenerateBatch", request, GenerateBatchResponse.self)
    var ranges: [IDRange] = []
    for range in response.ranges { ranges.append(try Self.checked(range)) }
    let total = response.ranges.reduce(into: UInt64(0)) { $0 += UInt64($1.count) }
    guard total == UInt64(count) else {
      throw RPCStatus(.internalError, "the server answered with \(total) ids instead of \(count)")
    }
    return ranges
  }

  /// The range, if its numbers can be added up.
  private static func checked(_ range: IDRangeMessage) throws(RPCStatus) -> IDRange {
    let (length, tooLong) = range.stride.multipliedReportingOverflow(by: Int64(range.count))
    guard range.stride >= 1, !tooLong, !range.start.addingReportingOverflow(length).overflow else {
      throw RPCStatus(
        .internalError,
        "the server answered with \(range.count) ids from \(range.start) by \(range.stride), which can't be")
    }
    return IDRange(start: range.start, count: Int64(range.count), stride: range.stride)
  }

  private func call<Response: ProtobufMessage>(
    _ path: String, _ request: some ProtobufMessage, _: Response.Type
  ) async throws(RPCStatus) -> Response {
    let answer = try await self.client.unary(path: path, message: request.encoded(), timeout: self.timeout)
    do {
      return try Response(decoding: answer)
    } catch {
      throw RPCStatus(.internalError, "the server's answer can't be read: \(error)")
    }
  }
}
