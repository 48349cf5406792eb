import NIOCore
import Testing

@testable import MidRPC

@Suite("Settings")
struct SettingsRuleTests {
  static let allowed: [RuleCase<[UInt8]>] = [
    RuleCase("HEADER_TABLE_SIZE of 0", Peer.setting(SettingID.headerTableSize, 0)),
    RuleCase("HEADER_TABLE_SIZE of 2^32-1", Peer.setting(SettingID.headerTableSize, .max)),
    RuleCase("ENABLE_PUSH of 0", Peer.setting(SettingID.enablePush, 0)),
    RuleCase("ENABLE_PUSH of 1", Peer.setting(SettingID.enablePush, 1)),
    RuleCase("MAX_CONCURRENT_STREAMS of 0", Peer.setting(SettingID.maxConcurrentStreams, 0)),
    RuleCase("INITIAL_WINDOW_SIZE of 100", Peer.setting(SettingID.initialWindowSize, 100)),
    RuleCase("INITIAL_WINDOW_SIZE of 2^31-1", Peer.setting(SettingID.initialWindowSize, 0x7fff_ffff)),
    RuleCase("MAX_FRAME_SIZE of 16384", Peer.setting(SettingID.maxFrameSize, 16_384)),
    RuleCase("MAX_FRAME_SIZE of 2^24-1", Peer.setting(SettingID.maxFrameSize, 0xff_ffff)),
    RuleCase("MAX_HEADER_LIST_SIZE of 0", Peer.setting(SettingID.maxHeaderListSize, 0)),
    RuleCase("setting 0", Peer.setting(0, 7)),
    RuleCase("an unknown setting", Peer.setting(0xfefe, .max)),
    RuleCase("none", Peer.frame(FrameType.settings, 0, 0)),
  ]

  @Test(arguments: Self.allowed)
  func `that are allowed or unknown are acknowledged`(_ rule: RuleCase<[UInt8]>) throws {
    var peer = try Peer.established()
    try peer.expect(rule.value, gives: [.settingsAck])
    try peer.expectService()
  }

  static let refused: [RuleCase<[UInt8]>] = [
    RuleCase("ENABLE_PUSH of 2^32-1", Peer.setting(SettingID.enablePush, .max)),
    RuleCase("INITIAL_WINDOW_SIZE of 2^32-1", Peer.setting(SettingID.initialWindowSize, .max), .flowControlError),
    RuleCase("MAX_FRAME_SIZE of 0", Peer.setting(SettingID.maxFrameSize, 0)),
    RuleCase("MAX_FRAME_SIZE of 2^32-1", Peer.setting(SettingID.maxFrameSize, .max)),
    RuleCase(
      "a wrong one behind a right one",
      Peer.frame(
        FrameType.settings, 0, 0,
        Array(Peer.setting(SettingID.enablePush, 0)[9...]) + Array(Peer.setting(SettingID.enablePush, 2)[9...]))),
  ]

  @Test(arguments: Self.refused)
  func `out of bounds end the connection and are not acknowledged`(_ rule: RuleCase<[UInt8]>) throws {
    var peer = try Peer.established()
    let seen = try peer.send(rule.value)
    #expect(seen == [.goAway(last: 0, rule.code)])
  }

  @Test func `are acknowledged one by one, in their order among other frames`() throws {
    var peer = try Peer.established()
    let bytes =
      Peer.setting(SettingID.enablePush, 0) + Peer.ping + Peer.frame(FrameType.settings, 0, 0) + peer.call(1)
      + Peer.setting(0x99, 1)
    try peer.expect(
      bytes, gives: [.settingsAck, Peer.pong, .settingsAck] + Peer.answered(1, [3, 2, 1]) + [.settingsAck])
    try peer.expect(Peer.frame(FrameType.settings, FrameFlags.ack, 0), gives: [], "an acknowledgement gets none")
  }

  @Test func `of one frame are taken in their order, the last of a kind counts`() throws {
    var peer = try Peer.established()
    let sizes = [30_000, 16_384, 20_000] as [UInt32]
    let payload = sizes.flatMap { Peer.setting(SettingID.maxFrameSize, $0)[9...] }
    try peer.expect(Peer.frame(FrameType.settings, 0, 0, payload), gives: [.settingsAck])
    #expect(peer.machine.peerMaxFrameSize == 20_000)
  }

  @Test func `are in force before they are acknowledged`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    try peer.expect(
      peer.call(1, [9]),
      gives: [.headers(stream: 1, fields: [":status": "200", "content-type": "application/grpc"], end: false)])
    let seen = try peer.send(Peer.setting(SettingID.initialWindowSize, 6))
    #expect(seen == [.settingsAck] + Peer.answered(1, [9]).dropFirst())
  }

  @Test func `of ours are the first frame, before the peer's are acknowledged`() throws {
    var peer = Peer()
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    (connectionPreface + Peer.setting(0x99, 1)).withUnsafeBytes {
      peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output)
    }
    let seen = try peer.reader.frames(output)
    guard case .settings(let settings)? = seen.first else { throw FrameReader.Broken() }
    #expect(settings.keys.sorted() == [3, 4, 6], "no ENABLE_PUSH, no larger frames")
    #expect(seen.last == .settingsAck)
    #expect(seen.count { $0 == .settingsAck } == 1)
  }

  /// First frames that are no preface.
  static let notFirst: [RuleCase<[UInt8]>] = [
    RuleCase("an acknowledgement", Peer.frame(FrameType.settings, FrameFlags.ack, 0)),
    RuleCase("SETTINGS on a stream", Peer.frame(FrameType.settings, 0, 1)),
    RuleCase("a request", Peer.frame(FrameType.headers, 5, 1, [0x82])),
    RuleCase("an unknown frame", Peer.frame(0xee, 0, 0)),
    RuleCase("WINDOW_UPDATE", Peer.window(0, 1)),
    RuleCase("SETTINGS out of bounds", Peer.setting(SettingID.enablePush, 2)),
  ]

  @Test(arguments: Self.notFirst)
  func `must come right behind the client's preface`(_ rule: RuleCase<[UInt8]>) throws {
    var peer = Peer()
    try peer.expect(connectionPreface + rule.value, ends: .protocolError)
  }
}
