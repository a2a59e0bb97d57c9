package console

import "time"

// What the console reads of the daemon's documents. provisioning/config has
// them whole; what is added there is left out here, and does no harm.

type reasonOf struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func why(r *reasonOf) string {
	if r == nil {
		return ""
	}
	return r.Message
}

// identity is the document console.
type identity struct {
	Name          string `json:"name"`
	SerialNumber  string `json:"serial_number"`
	Model         string `json:"model"`
	Version       string `json:"version"`
	Factory       bool   `json:"factory"`
	FirstPassword string `json:"first_password"`
}

type infoDocument struct {
	Device       string `json:"device"`
	SerialNumber string `json:"serial_number"`
	Model        string `json:"model"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	Interfaces   []struct {
		Name      string `json:"name"`
		MAC       string `json:"mac"`
		Path      string `json:"path"`
		Driver    string `json:"driver"`
		SpeedMbps int    `json:"speed_mbps"`
	} `json:"interfaces"`
	Capabilities struct {
		Inputs     []string `json:"inputs"`
		Outputs    []string `json:"outputs"`
		MaxFlows   int      `json:"max_flows"`
		MaxOutputs int      `json:"max_outputs"`
	} `json:"capabilities"`
}

type reportedDocument struct {
	Version        uint64         `json:"version"`
	DesiredVersion uint64         `json:"desired_version"`
	Status         string         `json:"status"`
	Origin         string         `json:"origin"`
	State          configuredItem `json:"state"`
}

// configuredItem is the part of the reported state that tables show.
type configuredItem struct {
	Flows []struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Inputs []struct {
			ID       string `json:"id"`
			Protocol string `json:"protocol"`
		} `json:"inputs"`
		Outputs []outputSettings `json:"outputs"`
	} `json:"flows"`
}

type outputSettings struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Protocol     string   `json:"protocol"`
	Uplink       string   `json:"uplink"`
	Region       string   `json:"region"`
	MaxViewers   int      `json:"max_viewers"`
	PlaybackURLs []string `json:"playback_urls"`
}

type stateDocument struct {
	Version uint64        `json:"version"`
	Uplinks []uplinkState `json:"uplinks"`
	Flows   []flowState   `json:"flows"`
	Alarms  []struct {
		Code    string    `json:"code"`
		Subject string    `json:"subject"`
		Since   time.Time `json:"since"`
		Message string    `json:"message"`
	} `json:"alarms"`
}

type uplinkState struct {
	Name      string    `json:"name"`
	Interface string    `json:"interface"`
	Ready     bool      `json:"ready"`
	Reason    *reasonOf `json:"reason"`
	Carrier   bool      `json:"carrier"`
	Addresses []string  `json:"addresses"`
	Gateways  []string  `json:"gateways"`
	Routing   *reasonOf `json:"routing"`
}

type flowState struct {
	ID      string      `json:"id"`
	Inputs  []itemState `json:"inputs"`
	Outputs []itemState `json:"outputs"`
}

// itemState is that of an input or output.
type itemState struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Reason  *reasonOf `json:"reason"`
	Since   time.Time `json:"since"`
	Active  bool      `json:"active"`  // of an input
	Viewers int       `json:"viewers"` // of an output
}

type telemetryDocument struct {
	Uplinks []struct {
		Name  string `json:"name"`
		RxBps uint64 `json:"rx_bps"`
		TxBps uint64 `json:"tx_bps"`
	} `json:"uplinks"`
	Flows []struct {
		ID      string        `json:"id"`
		Inputs  []itemFigures `json:"inputs"`
		Outputs []itemFigures `json:"outputs"`
	} `json:"flows"`
	System struct {
		CPUPercent   float64  `json:"cpu_percent"`
		RSSBytes     uint64   `json:"rss_bytes"`
		TemperatureC *float64 `json:"temperature_c"`
		UptimeS      float64  `json:"uptime_s"`
	} `json:"system"`
}

// itemFigures are those of an input or output.
type itemFigures struct {
	ID         string `json:"id"`
	BitrateBps uint64 `json:"bitrate_bps"`
	Bytes      uint64 `json:"bytes"`
	BytesAcked uint64 `json:"bytes_acked"`
	Packets    struct {
		Sent          uint64            `json:"sent"`
		Lost          uint64            `json:"lost"`
		Retransmitted uint64            `json:"retransmitted"`
		Dropped       map[string]uint64 `json:"dropped"`
	} `json:"packets"`
	RTTMs         float64 `json:"rtt_ms"`
	LatencyMs     float64 `json:"latency_ms"`
	Reconnections uint64  `json:"reconnections"`
	Refused       uint64  `json:"refused"`
	Sessions      []struct {
		ID         string    `json:"id"`
		Peer       string    `json:"peer"`
		Since      time.Time `json:"since"`
		BitrateBps uint64    `json:"bitrate_bps"`
	} `json:"sessions"`
	SRT        []srtLink `json:"srt"`
	Conversion *struct {
		Frames  uint64            `json:"frames"`
		Jumps   uint64            `json:"jumps"`
		Dropped map[string]uint64 `json:"dropped"`
	} `json:"conversion"`
	Destinations []struct {
		Address string    `json:"address"`
		State   string    `json:"state"`
		Reason  *reasonOf `json:"reason"`
	} `json:"destinations"`
}

// srtLink is one SRT connection, with the names of the SRT documentation.
type srtLink struct {
	Session         string  `json:"session"`
	Peer            string  `json:"peer"`
	MsRTT           float64 `json:"msRTT"`
	MsRTTVar        float64 `json:"msRTTVar"`
	PktSent         uint64  `json:"pktSent"`
	PktSndLoss      uint64  `json:"pktSndLoss"`
	PktRetrans      uint64  `json:"pktRetrans"`
	PktSndDrop      uint64  `json:"pktSndDrop"`
	PktFlightSize   uint64  `json:"pktFlightSize"`
	MbpsSendRate    float64 `json:"mbpsSendRate"`
	MsSndBuf        float64 `json:"msSndBuf"`
	MsSndTsbPdDelay float64 `json:"msSndTsbPdDelay"`
	PktRecv         uint64  `json:"pktRecv"`
	PktRcvLoss      uint64  `json:"pktRcvLoss"`
	PktRcvRetrans   uint64  `json:"pktRcvRetrans"`
	PktRcvDrop      uint64  `json:"pktRcvDrop"`
	MbpsRecvRate    float64 `json:"mbpsRecvRate"`
	MsRcvBuf        float64 `json:"msRcvBuf"`
	MsRcvTsbPdDelay float64 `json:"msRcvTsbPdDelay"`
	MsDrift         float64 `json:"msDrift"`

	AdvisedLatencyMs int `json:"advised_latency_ms"`
}

type fleetDocument struct {
	Broker  string    `json:"broker"`
	State   string    `json:"state"`
	Reason  *reasonOf `json:"reason"`
	Since   time.Time `json:"since"`
	Via     string    `json:"via"`
	Desired uint64    `json:"desired_version"`
	Last    *struct {
		Version uint64 `json:"version"`
		Code    int    `json:"code"`
		Status  string `json:"status"`
		Message string `json:"message"`
	} `json:"last_answer"`
	Owned []string `json:"owned_locally"`
}

type clockDocument struct {
	Time         time.Time `json:"time"`
	Synchronized bool      `json:"synchronized"`
	Server       string    `json:"server"`
	OffsetMs     *float64  `json:"offset_ms"`
	Source       string    `json:"source"`
}

type commitsDocument struct {
	Pending *pending `json:"pending"`
	Ended   *ended   `json:"ended"`
	Commits []struct {
		N        int       `json:"n"`
		Version  uint64    `json:"version"`
		Origin   string    `json:"origin"`
		By       string    `json:"by"`
		Comment  string    `json:"comment"`
		Received time.Time `json:"received_at"`
	} `json:"commits"`
}

// inspection is the answer to input-inspect.
type inspection struct {
	Flow       string    `json:"flow"`
	Input      string    `json:"input"`
	Protocol   string    `json:"protocol"`
	State      string    `json:"state"`
	Reason     *reasonOf `json:"reason"`
	Carriage   string    `json:"carriage"`
	Conversion string    `json:"conversion"`
	BitrateBps uint64    `json:"bitrate_bps"`
	Note       string    `json:"note"`
	Programs   []struct {
		Number  uint16            `json:"number"`
		PMTPID  uint16            `json:"pmt_pid"`
		Taken   bool              `json:"taken"`
		Streams []inspectedStream `json:"streams"`
	} `json:"programs"`
}

type inspectedStream struct {
	PID        uint16  `json:"pid"`
	Type       string  `json:"type"`
	Codec      string  `json:"codec"`
	Width      int     `json:"width"`
	Height     int     `json:"height"`
	FrameRate  float64 `json:"frame_rate"`
	SampleRate int     `json:"sample_rate"`
	Channels   int     `json:"channels"`
	BitrateBps uint64  `json:"bitrate_bps"`
	Carried    bool    `json:"carried"`
	LeftOut    string  `json:"left_out"`
}
