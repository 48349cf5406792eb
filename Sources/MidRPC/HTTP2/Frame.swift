/// The frame types of RFC 9113, section 6.
package enum FrameType {
  package static let data: UInt8 = 0x0
  package static let headers: UInt8 = 0x1
  package static let priority: UInt8 = 0x2
  package static let resetStream: UInt8 = 0x3
  package static let settings: UInt8 = 0x4
  package static let pushPromise: UInt8 = 0x5
  package static let ping: UInt8 = 0x6
  package static let goAway: UInt8 = 0x7
  package static let windowUpdate: UInt8 = 0x8
  package static let continuation: UInt8 = 0x9
}

/// The frame flags of RFC 9113, section 6. `ack` and `endStream` share a bit.
package enum FrameFlags {
  package static let ack: UInt8 = 0x1
  package static let endStream: UInt8 = 0x1
  package static let endHeaders: UInt8 = 0x4
  package static let padded: UInt8 = 0x8
  package static let priority: UInt8 = 0x20
}

/// The settings of RFC 9113, section 6.5.2.
package enum SettingID {
  package static let headerTableSize: UInt16 = 0x1
  package static let enablePush: UInt16 = 0x2
  package static let maxConcurrentStreams: UInt16 = 0x3
  package static let initialWindowSize: UInt16 = 0x4
  package static let maxFrameSize: UInt16 = 0x5
  package static let maxHeaderListSize: UInt16 = 0x6
}

/// The nine bytes before each frame's payload. Source: RFC 9113, section 4.1.
package struct FrameHeader {
  @inlinable package static var size: Int { 9 }

  package var length: Int
  package var type: UInt8
  package var flags: UInt8
  package var streamID: UInt32

  /// Reads the header at `offset`, where at least nine bytes must follow.
  @inlinable @inline(__always)
  package init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    let head = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    self.length = Int(head >> 8)
    self.type = UInt8(truncatingIfNeeded: head)
    self.flags = bytes[offset + 4]
    self.streamID =
      UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 5, as: UInt32.self)) & 0x7fff_ffff
  }

  @inlinable @inline(__always)
  package func has(_ flag: UInt8) -> Bool { self.flags & flag != 0 }
}

/// What a client sends first. Source: RFC 9113, section 3.4.
package let connectionPreface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

extension UInt64 {
  /// The sum, or the largest number where it is larger than that.
  @inline(__always)
  func addingClamped(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = self.addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
