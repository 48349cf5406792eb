import Foundation
import MidRPC

/// A result as JSON: one object, keys in snake case, times in nanoseconds. Keys are added and never change their meaning.
struct BenchJSON: Encodable {
  struct Latency: Encodable {
    var mean: Double
    var p50, p90, p99, p999, max: UInt64
    /// Percent and nanoseconds.
    var percentiles: [Percentile]

    enum CodingKeys: String, CodingKey {
      case mean, p50, p90, p99
      case p999 = "p99.9"
      case max, percentiles
    }
  }

  struct Percentile: Encodable {
    var percent: Double
    var nanoseconds: UInt64
  }

  struct Checks: Encodable {
    var good: Bool
    /// What was looked at: all, distinct, off.
    var check: String
    var notPositive: Int
    var notPositiveExamples: [Int64]
    var outOfOrder: Int
    var outOfOrderExamples: [[Int64]]
    var malformedReplies: Int
    var malformedExample: String?
    /// Null where it was not looked for.
    var duplicates: Int?
    var duplicateExamples: [Int64]
    /// Ids that were looked at for distinctness, and those that found no room.
    var distinctnessChecked: Int
    var distinctnessMissed: Int
  }

  var server: String
  var method: String
  var mode: String
  var tag: String?
  var batch: Int?
  var connections: Int
  var inFlight: Int
  var rate: Double?
  var seconds: Double
  var interrupted: Bool
  var calls: Int
  var callsPerSecond: Double
  var ids: Int
  var idsPerSecond: Double
  var latencyNanoseconds: Latency
  var errors: Int
  var errorsByCode: [String: Int]
  var errorMessages: [String: String]
  var callsRepeated: Int
  var callsUnsent: Int
  var connectionsLost: Int
  var connectionsDrained: Int
  var connectionsGivenUp: Int
  var idChecks: Checks
  var good: Bool

  /// The result in JSON's terms.
  init(_ result: BenchResult) {
    let plan = result.plan
    let record = result.record
    let latency = record.latency
    self.server = result.server
    self.method = String(plan.path.dropFirst())
    self.mode = plan.mode.rawValue
    self.tag = plan.tag.isEmpty ? nil : plan.tag
    self.batch = plan.batch
    self.connections = plan.connections
    self.inFlight = plan.inFlight
    self.rate = plan.rate
    self.seconds = result.seconds
    self.interrupted = result.isInterrupted
    self.calls = result.calls
    self.callsPerSecond = result.callsPerSecond
    self.ids = record.ids
    self.idsPerSecond = result.idsPerSecond
    self.latencyNanoseconds = Latency(
      mean: latency.mean, p50: latency.value(at: 50), p90: latency.value(at: 90), p99: latency.value(at: 99),
      p999: latency.value(at: 99.9), max: latency.maximum,
      percentiles: LatencyRecord.percentiles.map { Percentile(percent: $0, nanoseconds: latency.value(at: $0)) })
    self.errors = result.errors
    self.errorsByCode = Dictionary(uniqueKeysWithValues: record.errors.map { ("\($0.key)", $0.value) })
    self.errorMessages = Dictionary(uniqueKeysWithValues: record.messages.map { ("\($0.key)", $0.value) })
    self.callsRepeated = record.repeated
    self.callsUnsent = record.unsent
    self.connectionsLost = record.lost
    self.connectionsDrained = record.drained
    self.connectionsGivenUp = record.givenUp
    self.idChecks = Self.checks(result)
    self.good = result.isGood
  }

  private static func checks(_ result: BenchResult) -> Checks {
    let broken = result.broken
    var checks = Checks(
      good: result.areIDsGood, check: result.plan.check.rawValue, notPositive: broken.notPositive,
      notPositiveExamples: broken.notPositiveExamples, outOfOrder: broken.outOfOrder,
      outOfOrderExamples: broken.outOfOrderExamples.map { [$0.id, $0.floor] }, malformedReplies: broken.malformed,
      malformedExample: broken.malformedExample, duplicates: nil, duplicateExamples: [], distinctnessChecked: 0,
      distinctnessMissed: 0)
    if case .searched(let ids, let missed, let duplicates, let examples) = result.distinctness {
      checks.duplicates = duplicates
      checks.duplicateExamples = examples
      checks.distinctnessChecked = ids
      checks.distinctnessMissed = missed
    }
    return checks
  }

  /// One line of JSON for a run.
  static func text(_ result: BenchResult) throws -> String { try self.text(BenchJSON(result)) }

  /// One line of JSON for the runs of a table.
  static func text(table results: [BenchResult]) throws -> String {
    try self.text(["table": results.map(BenchJSON.init)])
  }

  private static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
