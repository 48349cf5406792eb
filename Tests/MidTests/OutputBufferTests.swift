import Foundation
import Testing

@testable import mid

@Suite("Buffered output")
struct OutputBufferTests {
  @Test func `numbers are written as the standard library writes them`() async throws {
    let numbers: [Int64] = [0, 1, -1, 9, 10, 742_137_416_151_572_480, .max, .min]
    let (text, _) = try await captured { output throws in
      for number in numbers { try output.line(number) }
    }
    #expect(text == numbers.map { "\($0)\n" }.joined())
  }

  @Test func `more than the buffer holds is written whole and in order`() async throws {
    let (text, _) = try await captured { output throws in
      for number in 0..<Int64(50_000) { try output.line(number) }
    }
    #expect(text == (0..<50_000).map { "\($0)\n" }.joined())
  }

  @Test func `a reader that has gone is told from other errors`() throws {
    signal(SIGPIPE, SIG_IGN)
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    close(ends[0])
    defer { close(ends[1]) }
    #expect { try Self.write(to: ends[1]) } throws: {
      if case OutputBuffer.Failure.closed = $0 { true } else { false }
    }
    #expect { try Self.write(to: -1) } throws: { "\($0)".contains("Bad file descriptor") }
  }

  private static func write(to descriptor: Int32) throws {
    var output = OutputBuffer(descriptor: descriptor)
    try output.line("x")
    try output.flush()
  }
}
