/// What can be fuzzed. The name is that of the target's folders in `Fuzzing/corpus` and `Fuzzing/crashers`.
enum FuzzTarget: String, CaseIterable {
  /// The connection's state machine on whatever bytes.
  case connectionBytes = "connection-bytes"
  /// The connection's state machine on conversations that the input's bytes drive.
  case connectionFrames = "connection-frames"
  /// Header blocks, against NIOHPACK.
  case headers
  /// gRPC's framing of messages, timeouts and percent coding.
  case framing
  /// The protobuf messages.
  case messages

  /// Tries one input.
  ///
  /// - Throws: the first rule that did not hold.
  func run(_ input: UnsafeRawBufferPointer) throws(Finding) {
    switch self {
    case .connectionBytes: try ConnectionBytesTarget.run(input)
    case .connectionFrames: try ConnectionFramesTarget.run(input)
    case .headers: try HeadersTarget.run(input)
    case .framing: try FramingTarget.run(input)
    case .messages: try MessagesTarget.run(input)
    }
  }
}
