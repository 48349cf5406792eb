import MidServer
import Testing

/// A small generator of random numbers (SplitMix64), so that a printed seed brings a failure back.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { self.state = seed }

  mutating func next() -> UInt64 {
    self.state &+= 0x9e37_79b9_7f4a_7c15
    var value = self.state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}

@Suite("Messages under random input")
struct MessageFuzzTests {
  private let seed: UInt64
  private let random: SeededGenerator

  init() {
    self.seed = UInt64.random(in: .min ... .max)
    self.random = SeededGenerator(seed: self.seed)
    print("messages under random input: seed \(self.seed)")
  }

  @Test func `random messages come back as they went`() throws {
    var random = self.random
    for _ in 0..<2000 {
      let batch = Self.request(&random)
      #expect(try GenerateBatchRequest(decoding: batch.encoded()) == batch, "seed \(self.seed)")
      let reply = Self.response(&random)
      #expect(try GenerateBatchResponse(decoding: reply.encoded()) == reply, "seed \(self.seed)")
      let single = GenerateIDResponse(id: Self.number(&random), text: Self.text(&random))
      #expect(try GenerateIDResponse(decoding: single.encoded()) == single, "seed \(self.seed)")
    }
  }

  @Test func `a message cut at any byte is an error or a shorter message, never a crash`() throws {
    var random = self.random
    for _ in 0..<50 {
      let message = Self.response(&random)
      let encoded = message.encoded()
      for length in 0..<encoded.count {
        if let cut = Self.parse(GenerateBatchResponse.self, Array(encoded[..<length])) {
          #expect(cut.ranges.count <= message.ranges.count && cut != message, "seed \(self.seed), cut at \(length)")
        }
        Self.parseAll(Array(encoded[..<length]))
      }
    }
  }

  @Test func `random and damaged bytes never crash any parser`() {
    var random = self.random
    for _ in 0..<20_000 {
      Self.parseAll(
        (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: .min ... .max, using: &random) })
      var damaged = Self.request(&random).encoded()
      for _ in 0..<Int.random(in: 1...3, using: &random) where !damaged.isEmpty {
        damaged[Int.random(in: damaged.indices, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
      }
      Self.parseAll(damaged)
    }
  }

  @Test func `the allocation-free parser sees what the messages see, errors included`() {
    var random = self.random
    for _ in 0..<20_000 {
      var input = Self.request(&random).encoded()
      for _ in 0..<Int.random(in: 0...2, using: &random) where !input.isEmpty {
        input[Int.random(in: input.indices, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
      }
      let message = Result { () throws(ProtobufError) in try GenerateBatchRequest(decoding: input) }
      input.withUnsafeBytes { raw in
        let fields = Result { () throws(ProtobufError) in try RequestFields(decoding: raw, as: .generateBatch) }
        switch (message, fields) {
        case (.success(let message), .success(let fields)):
          #expect(String(decoding: fields.modeBytes, as: UTF8.self) == message.mode, "seed \(self.seed)")
          #expect(fields.tagText == message.tag && fields.count == message.count, "seed \(self.seed)")
        case (.failure(let one), .failure(let other)): #expect(one == other, "seed \(self.seed)")
        default: Issue.record("seed \(self.seed): \(hex(input)): \(message) but \(fields)")
        }
      }
    }
  }

  private static func parse<Message: ProtobufMessage>(_: Message.Type, _ input: [UInt8]) -> Message? {
    do { return try Message(decoding: input) } catch { return nil }
  }

  private static func parseAll(_ input: [UInt8]) {
    _ = self.parse(IDRequest.self, input)
    _ = self.parse(IDResponse.self, input)
    _ = self.parse(GenerateIDRequest.self, input)
    _ = self.parse(GenerateIDResponse.self, input)
    _ = self.parse(GenerateBatchRequest.self, input)
    _ = self.parse(GenerateBatchResponse.self, input)
    _ = self.parse(HealthCheckRequest.self, input)
    _ = self.parse(HealthCheckResponse.self, input)
    _ = self.parse(ServerReflectionRequest.self, input)
    _ = self.parse(ServerReflectionResponse.self, input)
    input.withUnsafeBytes { raw in
      for kind in [RequestFields.Kind.id, .generateID, .generateBatch] {
        do { _ = try RequestFields(decoding: raw, as: kind).modeText } catch {}
      }
    }
  }

  private static func number(_ random: inout SeededGenerator) -> Int64 {
    Int64(truncatingIfNeeded: random.next() >> UInt64.random(in: 0..<64, using: &random))
  }

  private static func text(_ random: inout SeededGenerator) -> String {
    ["", "segment", "snowflake", "größe", "注文", "😀", String(repeating: "long", count: 40)].randomElement(using: &random)
      ?? ""
  }

  private static func request(_ random: inout SeededGenerator) -> GenerateBatchRequest {
    GenerateBatchRequest(
      mode: self.text(&random), tag: self.text(&random), count: UInt32(truncatingIfNeeded: self.number(&random)),
      requestKey: Array(repeating: 7, count: Int.random(in: 0...3, using: &random)))
  }

  private static func response(_ random: inout SeededGenerator) -> GenerateBatchResponse {
    let ranges = (0..<Int.random(in: 0...3, using: &random)).map { _ in
      IDRangeMessage(
        start: self.number(&random), stride: self.number(&random),
        count: UInt32(truncatingIfNeeded: self.number(&random)))
    }
    return GenerateBatchResponse(ranges: ranges + [IDRangeMessage(start: 1, stride: 1, count: 1)], texts: [])
  }
}
