package import MidCore

extension ServerConfiguration {
  /// What is allowed alone but not together.
  func conflicts() -> [ConfigurationError] {
    var errors: [ConfigurationError] = []
    func add(_ setting: any SettingDescription, _ message: String) {
      errors.append(ConfigurationError(source: "settings", key: setting.key, message: message))
    }
    if self.snowflake.renewInterval * 3 > self.snowflake.lease {
      add(
        Settings.snowflakeRenewInterval,
        "\(self.snowflake.renewInterval.configurationText) is more than a third of \(Settings.snowflakeLease.key), "
          + "\(self.snowflake.lease.configurationText): a lease has to survive two failed renewals")
    }
    // The bound is stored again after a third of its time, so two thirds of it lie ahead of the clock at least.
    if self.snowflake.maxAhead * 3 > self.snowflake.localBound * 2 {
      add(
        Settings.snowflakeMaxAhead,
        "\(self.snowflake.maxAhead.configurationText) is more than two thirds of \(Settings.snowflakeLocalBound.key), "
          + "\(self.snowflake.localBound.configurationText): ids that run ahead would meet the stored bound")
    }
    let sequences = self.snowflake.layout.sequencesPerTick
    if self.snowflake.sequenceJitter > sequences {
      add(
        Settings.snowflakeSequenceJitter,
        "\(self.snowflake.sequenceJitter) is more than the layout's \(sequences) sequences of a tick")
    }
    do throws(IDError) {
      _ = try self.snowflake.worker(default: 0)
    } catch {
      let setting: any SettingDescription =
        self.snowflake.workerID == nil ? Settings.datacenterID : Settings.workerID
      add(setting, "does not fit \(Settings.snowflakeLayout.key): \(error.message)")
    }
    self.grpc.tls.conflicts(add)
    return errors
  }
}

extension ServerConfiguration.Snowflake {
  /// The worker id that the settings name: with a datacenter given, that and the machine within it; without one, all
  /// worker bits as one number.
  ///
  /// - Parameter number: What stands in where `worker.id` is not given, or nil where nothing may.
  /// - Returns: The id, or nil where `worker.id` is not given and nothing may stand in for it.
  /// - Throws: ``IDError/Code/invalidArgument`` where it does not fit the layout. A loaded configuration's own ids fit.
  package func worker(default number: Int64?) throws(IDError) -> WorkerID? {
    guard let number = self.workerID.map({ Int64($0) }) ?? number else { return nil }
    guard let datacenter = self.datacenterID else { return try WorkerID(number, layout: self.layout) }
    return try WorkerID(datacenter: Int64(datacenter), machine: number, layout: self.layout)
  }
}
