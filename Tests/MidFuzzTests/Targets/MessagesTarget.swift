import MidServer

/// The protobuf messages: the first byte says which, the rest is the message.
enum MessagesTarget {
  static func run(_ input: UnsafeRawBufferPointer) throws(Finding) {
    guard let first = input.first else { return }
    let bytes = UnsafeRawBufferPointer(rebasing: input[1...])
    switch first % 9 {
    case 0: try Self.tryMessage(IDRequest.self, bytes)
    case 1: try Self.tryMessage(IDResponse.self, bytes)
    case 2: try Self.tryMessage(GenerateIDRequest.self, bytes)
    case 3: try Self.tryMessage(GenerateIDResponse.self, bytes)
    case 4: try Self.tryMessage(GenerateBatchRequest.self, bytes)
    case 5: try Self.tryMessage(GenerateBatchResponse.self, bytes)
    case 6: try Self.tryMessage(IDRangeMessage.self, bytes)
    case 7:
      try Self.tryMessage(HealthCheckRequest.self, bytes)
      try Self.tryMessage(DecodeIDRequest.self, bytes)
    default:
      try Self.tryMessage(HealthCheckResponse.self, bytes)
      try Self.tryMessage(DecodeIDResponse.self, bytes)
      try Self.tryMessage(IDReadingMessage.self, bytes)
    }
    try Self.tryFields(bytes)
    try Self.tryText(bytes)
    try Self.tryCuts(bytes)
  }

  /// What can be decoded is the same after encoding and decoding it again, and its length was told right.
  private static func tryMessage<Message: ProtobufMessage>(
    _: Message.Type, _ bytes: UnsafeRawBufferPointer
  ) throws(Finding) {
    guard case .success(let message) = Self.decode(Message.self, bytes) else { return }
    let encoded = message.encoded()
    try require(encoded.count == message.encodedByteCount, "\(Message.self) takes not as many bytes as it says")
    let again = encoded.withUnsafeBytes { Self.decode(Message.self, $0) }
    try require(again == .success(message), "\(message) decodes as \(again) from its own bytes")
    // Fields in any order, the last counts: a message after itself says the same where no field repeats.
    let hasNames = (message as? GenerateBatchRequest)?.names.isEmpty == false
    if !hasNames, Message.self != GenerateBatchResponse.self, Message.self != DecodeIDResponse.self {
      let twice = (Array(bytes) + encoded).withUnsafeBytes { Self.decode(Message.self, $0) }
      try require(twice == .success(message), "\(message) decodes as \(twice) when it comes twice")
    }
  }

  private static func decode<Message: ProtobufMessage>(
    _: Message.Type, _ bytes: UnsafeRawBufferPointer
  ) -> Result<Message, ProtobufError> {
    Result { () throws(ProtobufError) in try Message(decoding: bytes) }
  }

  /// The hot path's parser says of every request what the full message says, errors included.
  private static func tryFields(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    let id = Self.decode(IDRequest.self, bytes).map { Fields(mode: $0.mode) }
    try Self.compare(id, .id, bytes)
    let generate = Self.decode(GenerateIDRequest.self, bytes).map { Fields(mode: $0.mode, tag: $0.tag) }
    try Self.compare(generate, .generateID, bytes)
    let batch = Self.decode(GenerateBatchRequest.self, bytes).map {
      Fields(mode: $0.mode, tag: $0.tag, count: $0.count)
    }
    try Self.compare(batch, .generateBatch, bytes)
  }

  private struct Fields: Equatable {
    var mode = ""
    var tag = ""
    var count: UInt32 = 0
  }

  private static func compare(
    _ full: Result<Fields, ProtobufError>, _ kind: RequestFields.Kind, _ bytes: UnsafeRawBufferPointer
  ) throws(Finding) {
    let quick = Result { () throws(ProtobufError) in
      let fields = try RequestFields(decoding: bytes, as: kind)
      return (
        fields,
        Fields(mode: String(decoding: fields.modeBytes, as: UTF8.self), tag: fields.tagText, count: fields.count)
      )
    }
    let plain = quick.map(\.1)
    try require(plain == full, "RequestFields reads \(plain), the message \(full)")
    guard case .success(let (fields, texts)) = quick else { return }
    let mode: RequestFields.Mode =
      texts.mode.utf8.elementsEqual("snowflake".utf8)
      ? .snowflake : texts.mode.utf8.elementsEqual("segment".utf8) ? .segment : .other
    try require(fields.mode == mode, "the mode of '\(texts.mode)' is told as \(fields.mode)")
    try require(
      fields.modeText.unicodeScalars.count <= RequestFields.maximumModeTextLength, "a mode's text is too long")
  }

  /// Our check of UTF-8 agrees with Swift's own.
  private static func tryText(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    let isValid = String(validating: bytes, as: UTF8.self) != nil
    try require(UTF8Validation.isValid(bytes) == isValid, "UTF-8 that is \(isValid ? "valid" : "not valid")")
  }

  /// A reader never steps past its end: fields are read one by one until it throws or is through.
  private static func tryCuts(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    var reader = ProtobufReader(bytes)
    var steps = 0
    do throws(ProtobufError) {
      while let tag = try reader.nextTag() {
        steps += 1
        if tag.wireType == .startGroup || tag.number & 1 == 0 {
          try reader.skip(tag)
        } else {
          switch tag.wireType {
          case .varint: _ = try reader.varint()
          case .fixed64: _ = try reader.fixed64()
          case .fixed32: _ = try reader.fixed32()
          case .lengthDelimited: _ = try reader.slice()
          case .startGroup, .endGroup: break
          }
        }
      }
    } catch {
      return
    }
    try require(steps * 2 <= bytes.count, "\(steps) fields in \(bytes.count) bytes")
  }
}
