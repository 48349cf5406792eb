extension SnowflakeLayout {
  /// The default, as mid always had it: 41 time, 5 datacenter, 5 machine, 12 sequence, epoch 2021-01-01T00:00:00Z.
  public static let original = SnowflakeLayout(
    checkedTime: 41, datacenter: 5, machine: 5, sequence: 12, epoch: 1_609_459_200_000)

  /// Twitter's: 41 time, 5 datacenter, 5 machine, 12 sequence, epoch 2010-11-04T01:42:54.657Z.
  public static let twitter = SnowflakeLayout(
    checkedTime: 41, datacenter: 5, machine: 5, sequence: 12, epoch: 1_288_834_974_657)

  /// Meituan Leaf's: the same bits as ``twitter``, with its ten worker bits read as one number.
  public static let leaf = SnowflakeLayout.twitter

  /// Sonyflake's: 39 time in ticks of 10 ms, 8 sequence, 16 machine, epoch 2014-09-01T00:00:00Z, in Sonyflake's own
  /// order: the machine stands in the lowest bits. 256 ids a tick, 25,600 a second.
  public static let sonyflake = SnowflakeLayout(
    checkedTime: 39, datacenter: 0, machine: 16, sequence: 8, epoch: 1_409_529_600_000, tick: 10,
    order: .timeSequenceWorker)

  /// 53 bits in all, so that ids are exact as JavaScript numbers: 41 time, 4 machine, 8 sequence, epoch 2021-01-01.
  /// 16 workers of 256,000 ids a second each.
  public static let javascript = SnowflakeLayout(
    checkedTime: 41, datacenter: 0, machine: 4, sequence: 8, epoch: 1_609_459_200_000)

  /// The presets by the name a configuration gives them.
  public static let presets: [String: SnowflakeLayout] = [
    "original": .original, "twitter": .twitter, "leaf": .leaf, "sonyflake": .sonyflake, "javascript": .javascript,
  ]
}
