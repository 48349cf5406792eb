import MidServer
import Testing

/// What the parser takes and refuses. All but one outcome (it stands out below) is that of Python's protobuf 7.36.
@Suite("The protobuf parser")
struct ProtobufReaderTests {
  @Test(arguments: [
    ("0a01610a0162", GenerateBatchRequest(mode: "b")),
    ("18011802", GenerateBatchRequest(count: 2)),
    ("188180808010", GenerateBatchRequest(count: 1)),
    ("1881808080808080808000", GenerateBatchRequest(count: 1)),
    ("0801", GenerateBatchRequest()),
    ("1a0101", GenerateBatchRequest()),
    ("2b082a2c1801", GenerateBatchRequest(count: 1)),
    ("2b33342c1801", GenerateBatchRequest(count: 1)),
    ("0b0c1801", GenerateBatchRequest(count: 1)),
    ("2d010203042901020304050607081803", GenerateBatchRequest(count: 3)),
    ("f8ffffff0f011803", GenerateBatchRequest(count: 3)),
    ("988080800003", GenerateBatchRequest(count: 3)),
  ])
  func `takes what protobuf takes`(input: String, expected: GenerateBatchRequest) throws {
    #expect(try GenerateBatchRequest(decoding: bytes(input)) == expected)
  }

  @Test(arguments: [
    ("188180808080808080808000", ProtobufError.malformedVarint),
    // Python drops the bits above 64 here; a number that does not fit is an error to us, as it is to Go.
    ("1881808080808080808002", .malformedVarint),
    ("2b341801", .unbalancedGroup),
    ("2c", .unbalancedGroup),
    ("2b", .unbalancedGroup),
    ("0001", .malformedTag),
    ("2e", .malformedTag),
    ("2f", .malformedTag),
    ("f8ffffff1f011803", .malformedTag),
    ("98808080800003", .malformedTag),
    ("ffffffffffffffffffff01", .malformedTag),
    ("0affffffffffffffffff01", .truncated),
    ("0affffffff0f", .truncated),
    ("0a02c3", .truncated),
    ("18", .truncated),
    ("1880", .truncated),
    ("2d010203", .truncated),
    ("2901020304050607", .truncated),
    ("0a01ff", .invalidUTF8),
  ])
  func `refuses what protobuf refuses`(input: String, error: ProtobufError) {
    #expect(throws: error) { try GenerateBatchRequest(decoding: bytes(input)) }
  }

  @Test func `groups end at a depth of 100`() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "2b", count: depth) + String(repeating: "2c", count: depth) + "1801"
    }
    #expect(try GenerateBatchRequest(decoding: bytes(nested(100))).count == 1)
    #expect(throws: ProtobufError.groupsTooDeep) { try GenerateBatchRequest(decoding: bytes(nested(101))) }
    #expect(throws: ProtobufError.groupsTooDeep) { try GenerateBatchRequest(decoding: bytes(nested(100_000))) }
  }

  @Test func `fixed values are little-endian`() throws {
    try bytes("2d010203042901020304050607ff").withUnsafeBytes { (input) throws in
      var reader = ProtobufReader(input)
      #expect(try reader.nextTag() == ProtobufFieldTag(number: 5, wireType: .fixed32))
      #expect(try reader.fixed32() == 0x0403_0201)
      #expect(try reader.nextTag() == ProtobufFieldTag(number: 5, wireType: .fixed64))
      #expect(try reader.fixed64() == 0xff07_0605_0403_0201)
      #expect(try reader.nextTag() == nil)
      #expect(reader.isAtEnd)
    }
  }

  @Test func `UTF-8 is told from everything else as the standard library tells it`() {
    // Every pair of bytes, and every lead with the edges of the second byte and two or one more.
    let edges: [UInt8] = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff]
    var disagreements: [[UInt8]] = []
    func compare(_ candidate: [UInt8]) {
      let ours = candidate.withUnsafeBytes { UTF8Validation.isValid($0) }
      if ours != (String(validating: candidate, as: UTF8.self) != nil) { disagreements.append(candidate) }
    }
    for first in UInt8.min...UInt8.max {
      compare([first])
      for second in UInt8.min...UInt8.max { compare([first, second]) }
      for second in edges {
        for third in edges {
          compare([first, second, third])
          for fourth in edges { compare([first, second, third, fourth, 0x61]) }
        }
      }
    }
    #expect(disagreements.isEmpty)
  }
}
